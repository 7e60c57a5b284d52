package drift

import (
	"bytes"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Baseline is what the API server made of our fields when it accepted them:
// their paths, and a hash of the value at each leaf. Defaults, injected
// sidecars and what others own are not in it, so they are never drift.
type Baseline struct {
	// Fields is the field set in the API server's own JSON (FieldsV1).
	Fields []byte `cbor:"1,keyasint,omitempty"`
	// Leaves are the value hashes, in the order of the set's leaves.
	Leaves []uint64 `cbor:"2,keyasint,omitempty"`
	// Entry is the EntryHash at that time.
	Entry uint64 `cbor:"3,keyasint,omitempty"`
	// Partial tells that some fields were left to someone else and are still
	// asked for: then ownership alone does not tell that all is well.
	Partial bool `cbor:"4,keyasint,omitempty"`
}

// Empty tells that nothing was ever recorded.
func (b Baseline) Empty() bool { return b.Entry == 0 }

// Take records obj, the response to an apply by manager. Fields in giveUp are
// left out: they may change from now on.
func Take(obj *unstructured.Unstructured, manager string, giveUp Paths) (Baseline, error) {
	fields, at, ok := entryOf(obj.Object, manager)
	if !ok {
		return Baseline{}, fmt.Errorf("record %s %s: the API server lists no fields of %q", obj.GetKind(), obj.GetName(), manager)
	}
	b := Baseline{Fields: fields, Entry: entryHash(at, fields)}
	set, err := b.set()
	if err != nil {
		return Baseline{}, fmt.Errorf("record %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	if len(giveUp) > 0 {
		set = keep(set, giveUp)
		if b.Fields, err = set.ToJSON(); err != nil {
			return Baseline{}, fmt.Errorf("encode field set: %w", err)
		}
	}
	for _, p := range leaves(set) {
		b.Leaves = append(b.Leaves, valueHash(obj.Object, p))
	}
	return b, nil
}

// keep is set without the leaves that paths cover.
func keep(set *fieldpath.Set, paths Paths) *fieldpath.Set {
	kept := fieldpath.NewSet()
	set.Iterate(func(p fieldpath.Path) {
		if !paths.Covers(p) {
			kept.Insert(p.Copy())
		}
	})
	return kept
}

// set parses Fields.
func (b Baseline) set() (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	if err := set.FromJSON(bytes.NewReader(b.Fields)); err != nil {
		return nil, fmt.Errorf("read baseline: %w", err)
	}
	return set, nil
}

// Untouched tells by the EntryHash of a live object alone that nobody changed
// a field of ours.
func (b Baseline) Untouched(entry uint64) bool {
	return b.Entry != 0 && b.Entry == entry && !b.Partial
}

// Held are those of paths' fields that manager still owns in obj.
func Held(managed []metav1.ManagedFieldsEntry, manager string, paths Paths) (*fieldpath.Set, error) {
	set, err := OwnedBy(managed, manager)
	if err != nil || set == nil || len(paths) == 0 {
		return fieldpath.NewSet(), err
	}
	held := fieldpath.NewSet()
	for _, p := range leaves(set) {
		if paths.Covers(p) {
			held.Insert(p)
		}
	}
	return held, nil
}

// Keeping is b with the old baseline's values at the paths of changes: fields
// that were left to whoever changed them, and stay reported.
func (b Baseline) Keeping(old Baseline, changes []Change) (Baseline, error) {
	now, err := b.set()
	if err != nil {
		return Baseline{}, err
	}
	before, err := old.set()
	if err != nil {
		return Baseline{}, err
	}
	hashes := map[string]uint64{}
	for i, p := range leaves(now) {
		hashes[p.String()] = b.Leaves[i]
	}
	kept := now.Copy()
	for i, p := range leaves(before) {
		if _, has := hashes[p.String()]; !has && changed(changes, p) {
			kept.Insert(p)
			hashes[p.String()] = old.Leaves[i]
		}
	}
	fields, err := kept.ToJSON()
	if err != nil {
		return Baseline{}, fmt.Errorf("encode field set: %w", err)
	}
	out := Baseline{Fields: fields, Entry: b.Entry, Partial: !kept.Equals(now)}
	for _, p := range leaves(kept) {
		out.Leaves = append(out.Leaves, hashes[p.String()])
	}
	return out, nil
}

// changed tells whether p is one of the changes' paths or lies below one.
func changed(changes []Change, p fieldpath.Path) bool {
	for _, c := range changes {
		if len(c.Path) <= len(p) && p[:len(c.Path)].Equals(c.Path) {
			return true
		}
	}
	return false
}
