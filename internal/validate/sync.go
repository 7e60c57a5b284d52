package validate

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

const (
	minRetryWait = 100 * time.Millisecond
	maxRetryWait = 24 * time.Hour
	maxRetries   = 1000
	maxFactor    = 10
)

func syncRules(path *field.Path, s *v1alpha1.Sync) field.ErrorList {
	if s == nil || s.Retry == nil {
		return nil
	}
	at := path.Child("retry")
	errs := between(at.Child("limit"), s.Retry.Limit, 0, maxRetries)
	b := s.Retry.Backoff
	if b == nil {
		return errs
	}
	at = at.Child("backoff")
	errs = append(errs, within(at.Child("duration"), b.Duration, minRetryWait, maxRetryWait)...)
	errs = append(errs, between(at.Child("factor"), b.Factor, 1, maxFactor)...)
	errs = append(errs, within(at.Child("maxDuration"), b.MaxDuration, minRetryWait, maxRetryWait)...)
	if b.Duration != nil && b.MaxDuration != nil && b.MaxDuration.Duration < b.Duration.Duration {
		errs = append(errs, field.Invalid(at.Child("maxDuration"), b.MaxDuration.Duration.String(), "is shorter than duration, the first wait"))
	}
	return errs
}

func between(path *field.Path, n *int32, least, most int32) field.ErrorList {
	if n == nil || *n >= least && *n <= most {
		return nil
	}
	return field.ErrorList{field.Invalid(path, *n, fmt.Sprintf("must be from %d to %d", least, most))}
}
