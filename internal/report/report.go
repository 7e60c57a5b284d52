// Package report is what an agent says of its cluster: per application three
// axes with the reasons, and the cluster's facts. It is pure: types, digests,
// deltas and summaries; the agent fills it and the hub reads it.
package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// Sync is the axis that says whether the cluster has what was asked.
type Sync string

// The values of Sync, from worst to best.
const (
	Failed      Sync = "Failed"
	Held        Sync = "Held"
	Drifted     Sync = "Drifted"
	Progressing Sync = "Progressing"
	InSync      Sync = "InSync"
	// Withdrawn is the last word on an application that was let go.
	Withdrawn Sync = "Withdrawn"
)

// Health is the axis that says whether it works.
type Health string

// The values of Health, from worst to best.
const (
	HealthDegraded    Health = "Degraded"
	HealthUnknown     Health = "Unknown"
	HealthProgressing Health = "Progressing"
	HealthHealthy     Health = "Healthy"
)

// ObjectRef names one object in a member.
type ObjectRef struct {
	Group     string `cbor:"1,keyasint,omitempty" json:"group,omitempty"`
	Version   string `cbor:"2,keyasint,omitempty" json:"version,omitempty"`
	Kind      string `cbor:"3,keyasint" json:"kind"`
	Namespace string `cbor:"4,keyasint,omitempty" json:"namespace,omitempty"`
	Name      string `cbor:"5,keyasint" json:"name"`
}

// String is kubectl's form: "deployment.apps/web in shop" without the version.
func (r ObjectRef) String() string {
	kind := r.Kind
	if r.Group != "" {
		kind += "." + r.Group
	}
	if r.Namespace == "" {
		return kind + "/" + r.Name
	}
	return kind + "/" + r.Name + " in " + r.Namespace
}

// Problem is one object that is not as it should be, with the reason a person
// can act on. Reason is CamelCase: Conflict, OwnedBy, DeletionHeld, Forbidden,
// PolicyRefused, NoKind, Invalid, TooLarge, HubOlderThanAgent, ContentMissing,
// ApplyFailed, HookFailed, StoreFull, Unhealthy, VerificationFailed,
// Kept.
type Problem struct {
	Object  ObjectRef `cbor:"1,keyasint" json:"object"`
	Reason  string    `cbor:"2,keyasint" json:"reason"`
	Message string    `cbor:"3,keyasint" json:"message"`
}

// Kept is the Reason where objects are no longer asked for and stay, as their
// annotations say. It is none that keeps an application from being well.
const Kept = "Kept"

// Change is one field that changed from Old to New: in a record of drift by
// someone else, away from what is asked; in a preview by the next sync, away
// from what is live. Secret values are never in it: there both are "(hidden)".
type Change struct {
	Object  ObjectRef `cbor:"1,keyasint" json:"object"`
	Path    string    `cbor:"2,keyasint" json:"path"`
	Old     string    `cbor:"3,keyasint,omitempty" json:"old,omitempty"`
	New     string    `cbor:"4,keyasint,omitempty" json:"new,omitempty"`
	Manager string    `cbor:"5,keyasint,omitempty" json:"manager,omitempty"`
	// At is when the manager wrote it (Unix milliseconds, the member's clock).
	At int64 `cbor:"6,keyasint,omitempty" json:"at,omitempty"`
	// Corrected tells that it was forced back.
	Corrected bool `cbor:"7,keyasint,omitempty" json:"corrected,omitempty"`
	// Paused names until when correction is held (RFC 3339), if it is.
	Paused string `cbor:"8,keyasint,omitempty" json:"paused,omitempty"`
}

// Deleted is New, with no Path, in the record of a whole object that someone
// deleted.
const Deleted = "(deleted)"

// State is one application on one cluster.
type State struct {
	Key desired.Key `cbor:"1,keyasint" json:"key"`
	// Entry is the digest of the entry that the rest speaks of.
	Entry    desired.Digest `cbor:"2,keyasint" json:"entry"`
	Revision string         `cbor:"3,keyasint,omitempty" json:"revision,omitempty"`
	Sync     Sync           `cbor:"4,keyasint" json:"sync"`
	Health   Health         `cbor:"5,keyasint" json:"health"`
	// Message is the one sentence to show first.
	Message string `cbor:"6,keyasint,omitempty" json:"message,omitempty"`
	// Objects, Applied and Ready count the entry's objects.
	Objects int32 `cbor:"7,keyasint" json:"objects"`
	Applied int32 `cbor:"8,keyasint" json:"applied"`
	Ready   int32 `cbor:"9,keyasint" json:"ready"`
	// Assumed counts objects whose health is silence taken for health.
	Assumed  int32     `cbor:"10,keyasint,omitempty" json:"assumed,omitempty"`
	Problems []Problem `cbor:"11,keyasint,omitempty" json:"problems,omitempty"`
	// Drift holds the latest changes by others, newest last.
	Drift []Change `cbor:"12,keyasint,omitempty" json:"drift,omitempty"`
	// Corrections counts corrected drifts since the entry was first applied.
	Corrections int64 `cbor:"13,keyasint,omitempty" json:"corrections,omitempty"`
	// HeldDeletion is the digest to allow, when deletions are held.
	HeldDeletion string `cbor:"14,keyasint,omitempty" json:"heldDeletion,omitempty"`
	// Since is when Sync and Health took their values (Unix milliseconds).
	Since int64 `cbor:"15,keyasint,omitempty" json:"since,omitempty"`
	// Verification is what the objects that try the delivery out say of this
	// content; nil when there are none.
	Verification *Verification `cbor:"16,keyasint,omitempty" json:"verification,omitempty"`
}

// Verdict is how far a verification got.
type Verdict string

// The verdicts. One that failed fails for as long as the content stays.
const (
	VerificationRunning Verdict = "Running"
	VerificationPassed  Verdict = "Passed"
	VerificationFailed  Verdict = "Failed"
)

// Verification is the verdict of all objects of phase Verify together, and what is
// to be said of the one that decides it: the first that failed, or is waited for.
type Verification struct {
	Verdict Verdict   `cbor:"1,keyasint" json:"verdict"`
	Object  ObjectRef `cbor:"2,keyasint" json:"object"`
	Message string    `cbor:"3,keyasint,omitempty" json:"message,omitempty"`
}

// String is a sentence: "Failed: Job.batch/smoke in shop: the job failed".
func (v Verification) String() string {
	text := string(v.Verdict)
	if v.Object != (ObjectRef{}) {
		text += ": " + v.Object.String()
	}
	if v.Message != "" {
		text += ": " + v.Message
	}
	return text
}

// Equal compares every field, without encoding them.
func (s State) Equal(o State) bool {
	v, w := s.Verification, o.Verification
	return s.Key == o.Key && s.Entry == o.Entry && s.Revision == o.Revision && s.Sync == o.Sync && s.Health == o.Health && s.Message == o.Message &&
		s.Objects == o.Objects && s.Applied == o.Applied && s.Ready == o.Ready && s.Assumed == o.Assumed &&
		s.Corrections == o.Corrections && s.HeldDeletion == o.HeldDeletion && s.Since == o.Since &&
		(v == w || v != nil && w != nil && *v == *w) &&
		slices.Equal(s.Problems, o.Problems) && slices.Equal(s.Drift, o.Drift)
}

// Digest covers every field.
func (s State) Digest() desired.Digest { return desired.Sum(mustEncode(s)) }

// Well reports whether nothing about the application needs attention.
func (s State) Well() bool { return s.Sync == InSync && s.Health == HealthHealthy }

// Measure is the digest of a State and its size, in bytes, from one encoding.
func (s State) Measure() (d desired.Digest, size int) {
	data := mustEncode(s)
	return desired.Sum(data), len(data)
}

// Digest is the hash of all states that heartbeats carry, order-independent.
func Digest(states map[desired.Key]State) desired.Digest {
	digests := make(map[desired.Key]desired.Digest, len(states))
	for k, s := range states {
		digests[k] = s.Digest()
	}
	return DigestOf(digests)
}

// DigestOf is Digest for those who know each state's digest.
func DigestOf(digests map[desired.Key]desired.Digest) desired.Digest {
	sum := desired.NewSum()
	for _, k := range slices.SortedFunc(maps.Keys(digests), desired.Key.Compare) {
		sum.Add(k, digests[k])
	}
	return sum.Digest()
}

// Report changes what the hub knows: everything when Full, else the States
// given and the Removed forgotten.
type Report struct {
	Full    bool            `cbor:"1,keyasint,omitempty"`
	States  []State         `cbor:"2,keyasint,omitempty"`
	Removed []desired.Key   `cbor:"3,keyasint,omitempty"`
	Facts   *v1alpha1.Facts `cbor:"4,keyasint,omitempty"`
	// Digest is of all states after this report.
	Digest desired.Digest `cbor:"5,keyasint"`
	// At is the agent's clock, Unix milliseconds.
	At int64 `cbor:"6,keyasint"`
}

// Worse orders states by how much they need attention, worst first.
func Worse(a, b State) int {
	return cmp.Or(
		cmp.Compare(syncRank[a.Sync], syncRank[b.Sync]),
		cmp.Compare(healthRank[a.Health], healthRank[b.Health]),
		a.Key.Compare(b.Key),
	)
}

var (
	syncRank   = map[Sync]int{Failed: 1, Held: 2, Drifted: 3, Progressing: 4, InSync: 5, Withdrawn: 6}
	healthRank = map[Health]int{HealthDegraded: 1, HealthUnknown: 2, HealthProgressing: 3, HealthHealthy: 4}
)

// Time is t as the reports carry it.
func Time(t time.Time) int64 { return t.UnixMilli() }

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
