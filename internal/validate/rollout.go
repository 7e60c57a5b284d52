package validate

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
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
		errs = append(errs, gates(at.Child("gates"), wave.Gates)...)
	}
	if _, err := rollout.CompileWindows(r); err != nil {
		errs = append(errs, field.Invalid(path.Child("windows"), field.OmitValueType{}, err.Error()))
	}
	return append(errs, within(path.Child("progressDeadline"), r.ProgressDeadline, minDeadline, maxDeadline)...)
}

func gates(path *field.Path, list []v1alpha1.Gate) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, g := range list {
		errs = append(errs, dnsLabel(path.Index(i).Child("name"), g.Name)...)
		if seen[g.Name] {
			errs = append(errs, field.Duplicate(path.Index(i).Child("name"), g.Name))
		}
		seen[g.Name] = true
		if _, err := rollout.CompileGate(g); err != nil {
			errs = append(errs, field.Invalid(path.Index(i).Child("cel"), g.CEL, err.Error()))
		}
	}
	return errs
}

func within(path *field.Path, d *metav1.Duration, least, most time.Duration) field.ErrorList {
	if d == nil || d.Duration >= least && d.Duration <= most {
		return nil
	}
	return field.ErrorList{field.Invalid(path, d.Duration.String(), "give "+least.String()+" to "+most.String())}
}
