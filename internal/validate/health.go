package validate

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

func healthRules(path *field.Path, rules []v1alpha1.HealthRule) field.ErrorList {
	var errs field.ErrorList
	seen := map[v1alpha1.GroupKind]bool{}
	for i, r := range rules {
		at := path.Index(i)
		errs = append(errs, group(at.Child("group"), r.Group)...)
		errs = append(errs, kind(at.Child("kind"), r.Kind)...)
		if strings.TrimSpace(r.Healthy) == "" {
			errs = append(errs, field.Required(at.Child("healthy"), `give a condition over object, such as "object.status.phase == 'Ready'"`))
		}
		gk := v1alpha1.GroupKind{Group: r.Group, Kind: r.Kind}
		if seen[gk] {
			errs = append(errs, field.Duplicate(at, r.Kind))
		}
		seen[gk] = true
	}
	return errs
}
