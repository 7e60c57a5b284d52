package managed

import (
	"fmt"
	"strings"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/drift"
)

// maxReason bounds the reason of an override, in bytes.
const maxReason = 1024

// Override is somebody's word that an object may be otherwise than its application
// says, for a while.
type Override struct {
	// Until is when the application's word counts again; zero for a time that
	// cannot be read.
	Until      time.Time
	Reason, By string
}

// OverrideOf reads the annotations of an object; without a reason there is none.
func OverrideOf(annotations map[string]string) (Override, bool) {
	o := Override{Reason: annotations[v1alpha1.AnnotationOverrideReason], By: annotations[v1alpha1.AnnotationOverrideBy]}
	if o.Reason == "" {
		return Override{}, false
	}
	if until, err := time.Parse(time.RFC3339, annotations[v1alpha1.AnnotationPauseUntil]); err == nil {
		o.Until = until
	}
	return o, true
}

// Holds tells whether others may change the object at now.
func (o Override) Holds(now time.Time) bool {
	return now.Before(o.Until) && !o.Until.After(now.Add(drift.MaxPause))
}

// String is for people.
func (o Override) String() string {
	return fmt.Sprintf("overridden by %s until %s: %s", o.By, o.Until.UTC().Format(time.RFC3339), drift.Text(o.Reason))
}

// CheckOverride refuses one that user may not give: it says who, why and for how
// long, and all of it is true.
func CheckOverride(new, old map[string]string, user string, now time.Time) error {
	o, given := OverrideOf(new)
	before, had := OverrideOf(old)
	switch {
	case !given || had && o == before:
		return nil
	case o.By != user:
		return fmt.Errorf("metadata.annotations[%s] says %q, and who overrides is %s", v1alpha1.AnnotationOverrideBy, o.By, user)
	case len(o.Reason) > maxReason || strings.TrimSpace(o.Reason) == "":
		return fmt.Errorf("metadata.annotations[%s] must say in at most %d characters why", v1alpha1.AnnotationOverrideReason, maxReason)
	case !o.Holds(now):
		return fmt.Errorf("metadata.annotations[%s] must be a time within the next 24 h, such as %s", v1alpha1.AnnotationPauseUntil, now.Add(time.Hour).UTC().Format(time.RFC3339))
	}
	return nil
}
