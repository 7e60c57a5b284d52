package drift

import (
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Change is one field of ours that has another value than the baseline.
type Change struct {
	Path fieldpath.Path
	// New is the value now; Gone tells that there is none.
	New  any
	Gone bool
	// Manager wrote it, At that time; empty when nobody claims the field.
	Manager string
	At      time.Time
}

// Compare finds the fields whose value differs from the baseline, except those
// that giveUp covers. A missing map or list element is one change, not one for
// each field below it.
func Compare(b Baseline, live *unstructured.Unstructured, manager string, giveUp Paths) ([]Change, error) {
	set, err := b.set()
	if err != nil {
		return nil, err
	}
	managed := live.GetManagedFields()
	var changes []Change
	gone := map[string]bool{}
	for i, p := range leaves(set) {
		now := valueHash(live.Object, p)
		if i < len(b.Leaves) && now == b.Leaves[i] || giveUp.Covers(p) {
			continue
		}
		c := Change{Path: p}
		if now == absent {
			c.Path, c.Gone = firstMissing(live.Object, p), true
			if gone[c.Path.String()] {
				continue
			}
			gone[c.Path.String()] = true
		} else {
			c.New, _ = Lookup(live.Object, p)
		}
		c.Manager, c.At = writer(managed, manager, p)
		changes = append(changes, c)
	}
	return changes, nil
}

// firstMissing is the shortest beginning of p that is not in obj.
func firstMissing(obj any, p fieldpath.Path) fieldpath.Path {
	for n := 1; n < len(p); n++ {
		if _, ok := Lookup(obj, p[:n]); !ok {
			return p[:n]
		}
	}
	return p
}

// writer is the manager other than ours that owns p, or an ancestor or
// descendant of it; of several the latest. A removed field is owned by nobody:
// then it is the latest writer of all, who is the likeliest.
func writer(managed []metav1.ManagedFieldsEntry, ours string, p fieldpath.Path) (string, time.Time) {
	var owner, latest metav1.ManagedFieldsEntry
	for _, m := range managed {
		if isApply(m, ours) || m.FieldsV1 == nil || m.Subresource == "status" {
			continue
		}
		if !m.Time.Before(latest.Time) {
			latest = m
		}
		set, err := parseSet(m.FieldsV1)
		if err == nil && touches(set, p) && !m.Time.Before(owner.Time) {
			owner = m
		}
	}
	if owner.Manager == "" {
		owner = latest
	}
	if owner.Time == nil {
		return owner.Manager, time.Time{}
	}
	return owner.Manager, owner.Time.Time
}

func touches(set *fieldpath.Set, p fieldpath.Path) bool {
	for n := 1; n <= len(p); n++ {
		if set.Has(p[:n]) && (n == len(p) || isLeaf(set, p[:n])) {
			return true
		}
	}
	return false
}

func isLeaf(set *fieldpath.Set, p fieldpath.Path) bool {
	for _, e := range p {
		set = set.WithPrefix(e)
	}
	return set.Empty()
}

// Unlike are the changes whose new value is not what the manifest asks for.
func Unlike(changes []Change, manifest map[string]any) []Change {
	var out []Change
	for _, c := range changes {
		want, asked := Lookup(manifest, c.Path)
		if c.Gone == asked || asked && !equality.Semantic.DeepEqual(want, c.New) {
			out = append(out, c)
		}
	}
	return out
}

// Hidden stands for a secret's value.
const Hidden = "(hidden)"

// MaxValue is the length of a value in a record, in bytes.
const MaxValue = 120

// Text is a value as people read it, shortened.
func Text(v any) string {
	text, isString := v.(string)
	if !isString {
		data, err := json.Marshal(v)
		if err != nil {
			return "(unreadable)"
		}
		text = string(data)
	}
	if len(text) <= MaxValue {
		return text
	}
	cut := MaxValue
	for cut > 0 && text[cut]&0xC0 == 0x80 { // not inside a rune
		cut--
	}
	return text[:cut] + "…"
}
