package validate

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
)

// Placement validates a Placement; old is nil on create.
func Placement(new, _ *v1alpha1.Placement) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, subdomain(field.NewPath("metadata", "name"), new.Name)...)
	if new.Spec.Hub {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "hub"), "an application targets the hub by its own placement, not by a named one"))
	}
	return append(errs, rule(field.NewPath("spec"), new.Spec)...)
}

// rule validates a rule that must stand on its own.
func rule(path *field.Path, r v1alpha1.PlacementRule) field.ErrorList {
	var errs field.ErrorList
	if len(r.Names) == 0 && strings.TrimSpace(r.Clusters) == "" && strings.TrimSpace(r.Where) == "" {
		errs = append(errs, field.Required(path, `give names, clusters (a label selector) or where; to mean every cluster say where: "true"`))
	}
	errs = append(errs, clusterNames(path.Child("names"), r.Names)...)
	errs = append(errs, selector(path.Child("clusters"), r.Clusters)...)
	errs = append(errs, where(path.Child("where"), r.Where)...)
	errs = append(errs, count(path.Child("count"), r)...)
	errs = append(errs, tolerations(path.Child("tolerations"), r.Tolerations)...)
	errs = append(errs, residency(path.Child("residency"), r.Residency)...)
	return errs
}

func clusterNames(path *field.Path, names []string) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, name := range names {
		if seen[name] {
			errs = append(errs, field.Duplicate(path.Index(i), name))
		}
		seen[name] = true
		if len(name) > maxClusterName || !nameForm.MatchString(name) {
			errs = append(errs, field.Invalid(path.Index(i), name, "no cluster can bear this name; for a pattern use clusters or where"))
		}
	}
	return errs
}

func where(path *field.Path, source string) field.ErrorList {
	if strings.TrimSpace(source) == "" {
		return nil
	}
	if err := placement.CompileWhere(source); err != nil {
		return field.ErrorList{field.Invalid(path, source, strings.TrimPrefix(err.Error(), "where: "))}
	}
	return nil
}

func count(path *field.Path, r v1alpha1.PlacementRule) field.ErrorList {
	switch {
	case r.Count == nil:
		return nil
	case *r.Count < 1:
		return field.ErrorList{field.Invalid(path, *r.Count, "must be 1 or more; to run nowhere remove the placement")}
	case len(r.Names) > 0 && int(*r.Count) > len(r.Names):
		return field.ErrorList{field.Invalid(path, *r.Count, fmt.Sprintf("asks for more clusters than the %d named", len(r.Names)))}
	}
	return nil
}

func tolerations(path *field.Path, list []v1alpha1.Toleration) field.ErrorList {
	var errs field.ErrorList
	seen := map[v1alpha1.Toleration]bool{}
	for i, t := range list {
		errs = append(errs, keyValue(path.Index(i), t.Key, t.Value)...)
		if seen[t] {
			errs = append(errs, field.Duplicate(path.Index(i), t.Key))
		}
		seen[t] = true
	}
	return errs
}

// WithinProject is what an application's effective rule asks beyond its
// project, for the condition Accepted: such parts can never be satisfied.
func WithinProject(path *field.Path, r v1alpha1.PlacementRule, project *v1alpha1.Project) field.ErrorList {
	if err := placement.Narrows(project.Spec.Residency, r.Residency); err != nil {
		return field.ErrorList{field.Forbidden(path.Child("residency"), fmt.Sprintf(
			"project %s: %s; a placement only narrows its project's residency", project.Name, strings.ReplaceAll(err.Error(), "\n", "; ")))}
	}
	return nil
}
