package validate

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/health"
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
		errs = append(errs, condition(at.Child("healthy"), r.Healthy)...)
		errs = append(errs, condition(at.Child("degraded"), r.Degraded)...)
		gk := v1alpha1.GroupKind{Group: r.Group, Kind: r.Kind}
		if seen[gk] {
			errs = append(errs, field.Duplicate(at, r.Kind))
		}
		seen[gk] = true
	}
	return errs
}

// condition compiles one CEL expression as the agent will.
func condition(path *field.Path, expression string) field.ErrorList {
	if strings.TrimSpace(expression) == "" {
		return nil
	}
	if _, err := health.CompileExpression(expression); err != nil {
		return field.ErrorList{field.Invalid(path, expression, err.Error())}
	}
	return nil
}
