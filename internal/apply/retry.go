package apply

import (
	"fmt"
	"time"
)

// applies tells the steps of which an application may say how often, and after which
// waits, they are tried again. Looking at an object and deleting it goes on as ever:
// nothing else would find out how it is, or let go of it.
func (s step) applies() bool {
	switch s {
	case create, deliver, correct, recreate, launch:
		return true
	}
	return false
}

// waitAfter is how long to wait after another failure of a step: what the manifest
// itself is refused for passes less soon.
func (o *object) waitAfter(s step) time.Duration {
	if s.applies() {
		if wait, said := o.entry.want.Policy.Retry.Wait(o.failures); said {
			return wait
		}
	}
	if definite(o.problem.Reason) {
		return backoff(o.failures, 15*time.Second, 5*time.Minute)
	}
	return backoff(o.failures, 50*time.Millisecond, time.Minute)
}

// spent tells that the object has no attempt left of those that its application has.
// What was deleted to be made anew is made, however often that takes.
func (o *object) spent() bool { return !o.remade && o.entry.want.Policy.Retry.Spent(o.refused) }

// givenUp tells people so.
func givenUp(o *object) string {
	times := "once"
	if o.refused > 1 {
		times = fmt.Sprintf("%d times", o.refused)
	}
	return fmt.Sprintf("; tried %s, and by spec.sync.retry not again before something else is asked for, or: atoll sync app/%s", times, o.entry.want.Key.Application)
}
