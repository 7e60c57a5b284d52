// Package desired says what a cluster should run: a Root of Entries, their
// digests and the differences between two Roots. It is pure; the hub builds
// Roots from Applications, the agent keeps the last one it accepted, and the
// link carries only what differs.
package desired

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"atoll.dev/atoll/api/v1alpha1"
)

// Digest is "sha256:" and 64 hex digits.
type Digest string

// Sum is the Digest of data.
func Sum(data []byte) Digest {
	sum := sha256.Sum256(data)
	return digestOf(sum[:])
}

// Short is the first twelve hex digits, for names and people.
func (d Digest) Short() string {
	const prefix = len(digestPrefix)
	if len(d) < prefix+12 {
		return string(d)
	}
	return string(d[prefix : prefix+12])
}

// Key names an entry: one application of one project on this cluster.
type Key struct {
	Project     string `cbor:"1,keyasint" json:"project"`
	Application string `cbor:"2,keyasint" json:"application"`
}

// String is "project/application".
func (k Key) String() string { return k.Project + "/" + k.Application }

// Compare orders keys by project, then application.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Project, o.Project), cmp.Compare(k.Application, o.Application))
}

// Entry is what one application should be on one cluster. Its Digest covers
// every field, so two agents with equal digests do the same.
type Entry struct {
	Key Key `cbor:"1,keyasint" json:"key"`
	// UID tells an application from a later one of the same name.
	UID string `cbor:"2,keyasint" json:"uid"`
	// Generation is the Application's; within one UID it never goes back
	// unless the hub was restored from a backup.
	Generation int64 `cbor:"3,keyasint" json:"generation"`
	// Revision is the name of the Revision, for people.
	Revision string `cbor:"4,keyasint,omitempty" json:"revision,omitempty"`
	// Content is the digest of the rendered content.
	Content Digest `cbor:"5,keyasint,omitempty" json:"content,omitempty"`
	// Namespace is where namespaced objects go that name none.
	Namespace string `cbor:"6,keyasint,omitempty" json:"namespace,omitempty"`
	// Bindings are the values of late-bound names ("cluster.region",
	// "var.color"); nil when the application does not bind late.
	Bindings map[string]string `cbor:"7,keyasint,omitempty" json:"bindings,omitempty"`
	Policy   Policy            `cbor:"8,keyasint" json:"policy"`
	// Withdrawn asks the agent to let go of the application: delete or orphan
	// what it owns by Policy.OnDelete, report that, and forget it.
	Withdrawn bool `cbor:"9,keyasint,omitempty" json:"withdrawn,omitempty"`
	// AllowDeletion releases the withheld deletions of these digests, separated
	// by commas.
	AllowDeletion string `cbor:"10,keyasint,omitempty" json:"allowDeletion,omitempty"`
	// Hold asks the agent to keep what it has for the key, whatever that is:
	// the hub cannot tell now what is wanted. Only Key and UID are set beside it.
	Hold bool `cbor:"11,keyasint,omitempty" json:"hold,omitempty"`
	// After are applications of the same project: what is new waits until those of
	// them that the cluster runs are in sync and healthy there.
	After []string `cbor:"12,keyasint,omitempty" json:"after,omitempty"`
	// Continues is the UID under which a hub that was lost asked for the same: what
	// is recorded of that, such as which hooks ran, goes on.
	Continues string `cbor:"13,keyasint,omitempty" json:"continues,omitempty"`
}

// Policy bounds and steers the agent's work for one entry.
type Policy struct {
	DriftMode v1alpha1.DriftMode      `cbor:"1,keyasint,omitempty" json:"driftMode,omitempty"`
	Ignore    []v1alpha1.FieldRule    `cbor:"2,keyasint,omitempty" json:"ignore,omitempty"`
	Exact     []v1alpha1.FieldRule    `cbor:"3,keyasint,omitempty" json:"exact,omitempty"`
	Adopt     bool                    `cbor:"4,keyasint,omitempty" json:"adopt,omitempty"`
	OnDelete  v1alpha1.DeletionPolicy `cbor:"5,keyasint,omitempty" json:"onDelete,omitempty"`
	Health    []v1alpha1.HealthRule   `cbor:"6,keyasint,omitempty" json:"health,omitempty"`
	// Privileged applies with the agent's own account.
	Privileged bool `cbor:"7,keyasint,omitempty" json:"privileged,omitempty"`
	// Namespaces the project may own in the member; a trailing "*" is a prefix.
	Namespaces []string `cbor:"8,keyasint,omitempty" json:"namespaces,omitempty"`
	// Kinds are allowed beyond namespaced ones.
	Kinds       []v1alpha1.GroupKind `cbor:"9,keyasint,omitempty" json:"kinds,omitempty"`
	ForbidPause bool                 `cbor:"10,keyasint,omitempty" json:"forbidPause,omitempty"`
	// DeletionBudget is the number of objects one sync may delete.
	DeletionBudget int32 `cbor:"11,keyasint" json:"deletionBudget"`
	// Hub is set when the entry is delivered to the hub itself.
	Hub *HubBounds `cbor:"12,keyasint,omitempty" json:"hub,omitempty"`
	// Retry is nil where the application says nothing of it.
	Retry *Retry `cbor:"13,keyasint,omitempty" json:"retry,omitempty"`
}

// Digest covers every field.
func (e Entry) Digest() Digest { return Sum(mustEncode(e)) }

// Root is everything one cluster should run, sorted by key.
type Root struct {
	Entries []Entry `cbor:"1,keyasint" json:"entries"`
	// digests, when known, are those of Entries: encoding each entry again for
	// every comparison would dominate a hub with a thousand links. digest is of
	// them all, where that is known too.
	digests []Digest
	digest  Digest
}

// NewRoot sorts entries into a Root; a key given twice is an error of the caller.
func NewRoot(entries []Entry) (Root, error) {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b Entry) int { return a.Key.Compare(b.Key) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Key == sorted[i-1].Key {
			return Root{}, fmt.Errorf("build desired state: %s stands twice", sorted[i].Key)
		}
	}
	return withDigests(sorted), nil
}

func withDigests(entries []Entry) Root {
	r := Root{Entries: entries, digests: make([]Digest, len(entries))}
	for i, e := range entries {
		r.digests[i] = e.Digest()
	}
	return r
}

// DigestOf is the digest of the entry at i, encoded only where it is not known.
func (r Root) DigestOf(i int) Digest {
	if len(r.digests) == len(r.Entries) {
		return r.digests[i]
	}
	return r.Entries[i].Digest()
}

// Digest is the hash that heartbeats carry: over each key and entry digest.
func (r Root) Digest() Digest {
	if r.digest != "" && len(r.digests) == len(r.Entries) {
		return r.digest
	}
	sum := NewSum()
	for i, e := range r.Entries {
		sum.Add(e.Key, r.DigestOf(i))
	}
	return sum.Digest()
}

// Get finds the entry of a key.
func (r Root) Get(k Key) (Entry, bool) {
	if i, ok := r.find(k); ok {
		return r.Entries[i], true
	}
	return Entry{}, false
}

func (r Root) find(k Key) (int, bool) {
	return slices.BinarySearchFunc(r.Entries, k, func(e Entry, k Key) int { return e.Key.Compare(k) })
}

// Contents are the distinct content digests, sorted.
func (r Root) Contents() []Digest {
	set := map[Digest]struct{}{}
	for _, e := range r.Entries {
		if e.Content != "" {
			set[e.Content] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// Delta turns the Root with digest Base into the one with digest Target. An
// empty Base means that Upserts is the whole Root.
type Delta struct {
	Base    Digest  `cbor:"1,keyasint,omitempty"`
	Target  Digest  `cbor:"2,keyasint"`
	Upserts []Entry `cbor:"3,keyasint,omitempty"`
	Removes []Key   `cbor:"4,keyasint,omitempty"`
}

// Whole is the Delta that needs no base.
func Whole(target Root) Delta {
	return Delta{Target: target.Digest(), Upserts: target.Entries}
}

// Apply returns base changed by d. The result is checked against d.Target, so
// a wrong base, a lost entry or a forged digest is an error, never a Root.
func (d Delta) Apply(base Root) (Root, error) {
	if d.Base == "" {
		base = Root{}
	} else if got := base.Digest(); got != d.Base {
		return Root{}, fmt.Errorf("apply desired state: the change is against %s, here is %s", d.Base.Short(), got.Short())
	}
	root := base.with(d.Upserts, d.Removes)
	root.digest = root.Digest()
	if root.digest != d.Target {
		return Root{}, fmt.Errorf("apply desired state: the result is %s, the hub announced %s", root.digest.Short(), d.Target.Short())
	}
	return root, nil
}

// with is r with entries put in and taken out. The digests of all others are
// those that r has: one change must not encode everything a cluster runs.
func (r Root) with(upserts []Entry, removes []Key) Root {
	changed := make(map[Key]*Entry, len(upserts)+len(removes))
	for _, k := range removes {
		changed[k] = nil
	}
	for i := range upserts {
		changed[upserts[i].Key] = &upserts[i]
	}
	keys := slices.SortedFunc(maps.Keys(changed), Key.Compare)
	room := len(r.Entries) + len(upserts)
	next := Root{Entries: make([]Entry, 0, room), digests: make([]Digest, 0, room)}
	from := 0
	for _, k := range keys {
		to, had := r.find(k)
		next.take(r, from, to)
		if e := changed[k]; e != nil {
			next.Entries, next.digests = append(next.Entries, *e), append(next.digests, e.Digest())
		}
		if from = to; had {
			from++
		}
	}
	next.take(r, from, len(r.Entries))
	return next
}

// take appends the entries of from up to, without, to.
func (r *Root) take(of Root, from, to int) {
	r.Entries = append(r.Entries, of.Entries[from:to]...)
	for i := from; i < to; i++ {
		r.digests = append(r.digests, of.DigestOf(i))
	}
}

// canonical is RFC 8949 core deterministic encoding: equal values give equal bytes.
var canonical = func() cbor.EncMode {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

func mustEncode(v any) []byte {
	data, err := canonical.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // only unencodable types fail, and ours are fixed
	}
	return data
}
