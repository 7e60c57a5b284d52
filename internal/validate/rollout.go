package validate

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

const (
	minDeadline = 10 * time.Second
	maxDeadline = 7 * 24 * time.Hour
	maxSoak     = 30 * 24 * time.Hour
)

func rolloutRules(path *field.Path, r *v1alpha1.Rollout) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	for i, wave := range r.Waves {
		at := path.Child("waves").Index(i)
		if strings.TrimSpace(wave.Clusters) == "" && wave.Share == "" && wave.Count == nil {
			errs = append(errs, field.Required(at, "give clusters (a label selector), share or count"))
		}
		errs = append(errs, selector(at.Child("clusters"), wave.Clusters)...)
		errs = append(errs, within(at.Child("soak"), wave.Soak, 0, maxSoak)...)
	}
	return append(errs, within(path.Child("progressDeadline"), r.ProgressDeadline, minDeadline, maxDeadline)...)
}

func within(path *field.Path, d *metav1.Duration, least, most time.Duration) field.ErrorList {
	if d == nil || d.Duration >= least && d.Duration <= most {
		return nil
	}
	return field.ErrorList{field.Invalid(path, d.Duration.String(), "give "+least.String()+" to "+most.String())}
}
