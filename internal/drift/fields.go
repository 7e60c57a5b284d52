package drift

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// OwnedBy is the set of fields that manager holds by server-side apply, or nil
// when it holds none.
func OwnedBy(managed []metav1.ManagedFieldsEntry, manager string) (*fieldpath.Set, error) {
	for _, m := range managed {
		if isApply(m, manager) {
			return parseSet(m.FieldsV1)
		}
	}
	return nil, nil
}

func isApply(m metav1.ManagedFieldsEntry, manager string) bool {
	return m.Manager == manager && m.Operation == metav1.ManagedFieldsOperationApply && m.Subresource == "" && m.FieldsV1 != nil
}

func parseSet(f *metav1.FieldsV1) (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	if err := set.FromJSON(f.GetRawReader()); err != nil {
		return nil, fmt.Errorf("read managed fields: %w", err)
	}
	return set, nil
}

// EntryHash tells one state of our ownership from another without parsing it:
// 0 when manager owns nothing. While it stays the same nobody has changed a
// field of ours, because the API server takes a changed field away from every
// other applier. It covers the time, so an apply by someone who uses our
// manager's name shows too.
func EntryHash(managed []metav1.ManagedFieldsEntry, manager string) uint64 {
	for _, m := range managed {
		if !isApply(m, manager) {
			continue
		}
		var at time.Time
		if m.Time != nil {
			at = m.Time.Time
		}
		return entryHash(at, compact(m.FieldsV1.GetRawBytes()))
	}
	return 0
}

func entryHash(at time.Time, fields []byte) uint64 {
	h := xxhash.New()
	if !at.IsZero() {
		_, _ = h.WriteString(at.UTC().Format("20060102150405"))
	}
	_, _ = h.Write(fields)
	return max(h.Sum64(), 1)
}

// EntryHashOf is EntryHash of a decoded object.
func EntryHashOf(obj map[string]any, manager string) uint64 {
	if fields, at, ok := entryOf(obj, manager); ok {
		return entryHash(at, fields)
	}
	return 0
}

// entryOf reads only the entry of manager, as compact would leave it: to
// convert all entries takes several times as long, at every event of a watch.
func entryOf(obj map[string]any, manager string) (fields []byte, at time.Time, ok bool) {
	metadata, _ := obj["metadata"].(map[string]any)
	managed, _ := metadata["managedFields"].([]any)
	for _, item := range managed {
		m, _ := item.(map[string]any)
		set, has := m["fieldsV1"].(map[string]any)
		if !has || m["manager"] != manager || m["operation"] != string(metav1.ManagedFieldsOperationApply) || m["subresource"] != nil {
			continue
		}
		fields, err := json.Marshal(set)
		if err != nil {
			return nil, at, false
		}
		if text, ok := m["time"].(string); ok {
			at, _ = time.Parse(time.RFC3339, text) // none, if it is unreadable
		}
		return fields, at, true
	}
	return nil, at, false
}

// compact makes the hash the same whether the entry came from a watch, which
// the server encodes, or was decoded and encoded here.
func compact(raw []byte) []byte {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return raw
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return sorted
}

// leaves are the paths without a path below them, in the set's own order,
// which is the same for equal sets.
func leaves(set *fieldpath.Set) []fieldpath.Path {
	var out []fieldpath.Path
	set.Leaves().Iterate(func(p fieldpath.Path) { out = append(out, p.Copy()) })
	return out
}

// absent is the hash of no value; a present one never has it.
const absent uint64 = 0

func valueHash(obj any, p fieldpath.Path) uint64 {
	v, ok := Lookup(obj, p)
	if !ok {
		return absent
	}
	data, err := json.Marshal(v)
	if err != nil {
		return absent
	}
	return max(xxhash.Sum64(data), 1)
}
