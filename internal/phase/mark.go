package phase

import "fmt"

// Phase is a part of a delivery.
type Phase int

// The phases in their order. What is of Verify belongs to no delivery: it tries
// whether one works that is over. SyncFail runs instead of what is left when a hook
// has failed.
const (
	PreSync Phase = iota
	Sync
	PostSync
	Verify
	SyncFail
)

var names = [...]string{PreSync: "PreSync", Sync: "Sync", PostSync: "PostSync", Verify: "Verify", SyncFail: "SyncFail"}

// String is the name that annotations use.
func (p Phase) String() string {
	if p < 0 || int(p) >= len(names) {
		return fmt.Sprintf("phase %d", int(p))
	}
	return names[p]
}

// Occasion is which deliveries to a cluster a hook is for.
type Occasion int

// A cluster's first delivery lasts until all of an application was applied there
// for the first time.
const (
	Always Occasion = iota
	FirstDelivery
	LaterDeliveries
)

// Deletion says when the object of a hook is deleted.
type Deletion struct {
	// BeforeCreation deletes what an earlier content made, and else it is in the way.
	BeforeCreation bool
	// Succeeded and Failed delete it after it ended so, with its phase.
	Succeeded, Failed bool
}

// Mark is the place of one object in the order.
type Mark struct {
	Phase Phase
	Wave  int32
	// Hook objects run once for each content.
	Hook bool
	// OnFailure tells a PostSync hook that runs as SyncFail too.
	OnFailure bool
	Occasion  Occasion
	Deletion  Deletion
	// LeftOut says why the object is not delivered; empty when it is.
	LeftOut string
}

// Fails reports whether the object runs when another hook failed.
func (m Mark) Fails() bool { return m.LeftOut == "" && (m.Phase == SyncFail || m.OnFailure) }

// plain is the mark of an object without annotations.
var plain = Mark{Phase: Sync}

// Plain reports whether the object is delivered as if there were no order.
func (m Mark) Plain() bool { return m == plain }
