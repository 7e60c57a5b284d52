package validate

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
)

// Project validates a Project; old is nil on create.
func Project(new, _ *v1alpha1.Project) field.ErrorList {
	spec := field.NewPath("spec")
	s := new.Spec
	errs := objectName(new.Name, maxShortName)
	if new.Name == "default" || strings.HasPrefix(new.Name, "kube-") || strings.HasPrefix(new.Name, "atoll-") {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"), "the namespace of this name is the hub's own; choose another"))
	}
	errs = append(errs, selector(spec.Child("clusters"), s.Clusters)...)
	errs = append(errs, namespaces(spec.Child("namespaces"), s.Namespaces)...)
	errs = append(errs, kinds(spec.Child("kinds"), s.Kinds)...)
	errs = append(errs, token(spec.Child("tenant"), s.Tenant, 63)...)
	errs = append(errs, residency(spec.Child("residency"), s.Residency)...)
	for i, n := range s.Notify {
		errs = append(errs, selector(spec.Child("notify").Index(i).Child("applications"), n.Applications)...)
	}
	if s.DeletionBudget != nil && *s.DeletionBudget < 0 {
		errs = append(errs, field.Invalid(spec.Child("deletionBudget"), *s.DeletionBudget, "must be 0 (every deletion waits for a person) or more"))
	}
	return errs
}

func selector(path *field.Path, text string) field.ErrorList {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if _, err := placement.ParseSelector(text); err != nil {
		return field.ErrorList{field.Invalid(path, text, err.Error())}
	}
	return nil
}

func namespaces(path *field.Path, patterns []string) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, pattern := range patterns {
		if seen[pattern] {
			errs = append(errs, field.Duplicate(path.Index(i), pattern))
		}
		seen[pattern] = true
		errs = append(errs, namespacePattern(path.Index(i), pattern)...)
	}
	return errs
}

func kinds(path *field.Path, list []v1alpha1.GroupKind) field.ErrorList {
	var errs field.ErrorList
	seen := map[v1alpha1.GroupKind]bool{}
	for i, gk := range list {
		at := path.Index(i)
		errs = append(errs, group(at.Child("group"), gk.Group)...)
		if gk.Kind != "*" {
			errs = append(errs, kind(at.Child("kind"), gk.Kind)...)
		}
		if gk.Group == v1alpha1.GroupVersion.Group {
			errs = append(errs, field.Forbidden(at.Child("group"), "the hub's own kinds are not delivered for a project"))
		}
		if seen[gk] {
			errs = append(errs, field.Duplicate(at, gk.Kind+"."+gk.Group))
		}
		seen[gk] = true
	}
	return errs
}

func residency(path *field.Path, r *v1alpha1.Residency) field.ErrorList {
	if r == nil {
		return nil
	}
	if len(r.Jurisdictions)+len(r.Regions) == 0 {
		return field.ErrorList{field.Required(path, "give jurisdictions or regions; an empty residency limits nothing, so leave it out if that is meant")}
	}
	errs := tokens(path.Child("jurisdictions"), r.Jurisdictions, 63)
	return append(errs, tokens(path.Child("regions"), r.Regions, 63)...)
}
