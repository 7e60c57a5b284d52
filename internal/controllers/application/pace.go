package application

import (
	"slices"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/observed"
)

// FirstWord is how long the fleet has, after a hub began to lead, to say how
// it is before the hub writes that it does not know. An agent dials again within
// ten seconds; what is stored has its age beside it, and is most likely true.
const FirstWord = 15 * time.Second

// firstIntent is how long the intent loop has for its first word on a new
// application before this one says that it is placed nowhere.
const firstIntent = 5 * time.Second

// tooEarly is how long a write would be one that is overtaken in a moment: of a
// thousand applications at a hub's start, or of each that is made.
func (r *Status) tooEarly(app *v1alpha1.Application, members []observed.Member, now time.Time) time.Duration {
	if entered(app) == 0 {
		return firstIntent - now.Sub(app.CreationTimestamp.Time)
	}
	silent := func(m observed.Member) bool { return !m.FromTerm }
	if app.Status.ObservedGeneration == app.Generation && slices.ContainsFunc(members, silent) {
		return FirstWord - now.Sub(r.Began)
	}
	return 0
}

// IntentWorkers are how many applications are placed at a time. They mostly wait
// for the store, which makes the writes of many one write to its disk.
const IntentWorkers = 16

// Busy tells that applications wait to be placed.
func (r *Intent) Busy() bool { return int(r.running.Load())+r.beside.count() >= IntentWorkers }

// price is how much of the rate of writes one takes: what is to be done comes
// before what is only told.
func (r *Status) price() int {
	const yielding = 5
	if r.Busy() {
		return yielding
	}
	return 1
}

// Concerns tells whether an application changed in what its counts depend on,
// beside what they are themselves.
func Concerns(before, after *v1alpha1.Application) bool {
	was, is := statusOf(before), statusOf(after)
	return before.Generation != after.Generation || !is.equal(was)
}
