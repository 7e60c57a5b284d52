package drift

import (
	"fmt"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
)

// MaxPause is how far ahead a pause may reach.
const MaxPause = 24 * time.Hour

// Pause is what atoll.dev/pause-until asks for.
type Pause struct {
	// Until is when correction goes on; zero when it is not held.
	Until time.Time
	// Ignored says why an annotation has no effect, if one has none.
	Ignored string
}

// Holds tells whether correction is held at now.
func (p Pause) Holds(now time.Time) bool { return now.Before(p.Until) }

// PauseOf reads the annotations of an object and of its namespace; the later
// of two valid ones counts.
func PauseOf(object, namespace map[string]string, now time.Time, forbidden bool) Pause {
	var p Pause
	for _, annotations := range []map[string]string{object, namespace} {
		text, ok := annotations[v1alpha1.AnnotationPauseUntil]
		if !ok {
			continue
		}
		until, err := time.Parse(time.RFC3339, text)
		switch {
		case forbidden:
			p.Ignored = fmt.Sprintf("%s is ignored: the project forbids pausing", v1alpha1.AnnotationPauseUntil)
		case err != nil:
			p.Ignored = fmt.Sprintf("%s %q is ignored: write a time such as 2026-01-31T15:04:05Z", v1alpha1.AnnotationPauseUntil, Text(text))
		case until.After(now.Add(MaxPause)):
			p.Ignored = fmt.Sprintf("%s %s is ignored: at most 24 h ahead", v1alpha1.AnnotationPauseUntil, text)
		case until.After(p.Until):
			p.Until = until
		}
	}
	return p
}
