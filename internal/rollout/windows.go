package rollout

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"atoll.dev/atoll/api/v1alpha1"
)

// Windows are when clusters may be told of a change. The zero value is always
// open.
type Windows []window

// CompileWindows reads an application's windows; rules may be nil.
func CompileWindows(rules *v1alpha1.Rollout) (Windows, error) {
	if rules == nil {
		return nil, nil
	}
	var all Windows
	for i, w := range rules.Windows {
		one, err := compileWindow(w)
		if err != nil {
			return nil, fmt.Errorf("window %d: %w", i+1, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// Open tells that one that allows is open at t, or that there is none of these,
// and none that denies.
func (w Windows) Open(t time.Time) bool {
	allowed := true
	for _, one := range w {
		allowed = allowed && one.deny
	}
	for _, one := range w {
		if one.closes(t).IsZero() {
			continue
		}
		if one.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

// Opens is the first moment from t on at which they are open, as clocks of the
// place show it; zero when there is none in sight.
func (w Windows) Opens(t time.Time) time.Time {
	const most = 1000 // turns of windows that shut each other out
	for range most {
		if w.Open(t) {
			return t
		}
		var denied, next time.Time
		for _, one := range w {
			switch at := one.closes(t); {
			case one.deny && at.After(denied):
				denied = at.In(one.zone)
			case one.deny:
			default:
				if at = one.opens(t); !at.IsZero() && (next.IsZero() || at.Before(next)) {
					next = at.In(one.zone)
				}
			}
		}
		switch {
		case !denied.IsZero():
			t = denied
		case !next.IsZero():
			t = next
		default:
			return time.Time{}
		}
	}
	return time.Time{}
}

// In is how long until closed windows open: ", in 5h12m"; empty when that is not
// in sight.
func (w Windows) In(now time.Time) string {
	at := w.Opens(now)
	if at.IsZero() {
		return ""
	}
	return ", in " + duration.HumanDuration(at.Sub(now))
}

// Why is when they open, for people who read it at any time: "waits for its
// window, which opens Mon 2026-01-05 02:00 CET".
func (w Windows) Why(now time.Time) string {
	at := w.Opens(now)
	if at.IsZero() {
		return "waits for its window, and none opens in the years to come: mend spec.rollout.windows"
	}
	return "waits for its window, which opens " + at.Format("Mon 2006-01-02 15:04 MST")
}
