package validate

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
)

// hubAlone refuses what would choose among clusters beside the hub.
func hubAlone(path *field.Path, p v1alpha1.ApplicationPlacement) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"ref", p.Ref != ""}, {"names", len(p.Names) > 0}, {"clusters", p.Clusters != ""}, {"where", p.Where != ""},
		{"count", p.Count != nil}, {"tolerations", len(p.Tolerations) > 0}, {"residency", p.Residency != nil},
	} {
		if f.given {
			errs = append(errs, field.Forbidden(path.Child(f.name), "hub is one place and stands alone; remove this or hub"))
		}
	}
	return errs
}

// hubTarget refuses what means nothing where there are no clusters, and a move
// between the hub and clusters: what one has must not be let go of by an edit that
// is about the other.
func hubTarget(spec *field.Path, new, old *v1alpha1.Application) field.ErrorList {
	onHub := placement.TargetsHub(new)
	var errs field.ErrorList
	if old != nil && slices.ContainsFunc(slices.Concat(old.Status.Clusters, old.Status.Withdrawing), func(c string) bool { return (c == placement.Hub) != onHub }) && new.Spec.Placement != nil {
		errs = append(errs, field.Forbidden(spec.Child("placement", "hub"), "an application moves neither from clusters to the hub nor back; make another one, and delete this"))
	}
	if !onHub {
		return errs
	}
	for _, f := range []struct {
		name, why string
		given     bool
	}{
		{"namespace", "on the hub a project has one namespace, of its own name; name another in the objects, if the project may", new.Spec.Namespace != ""},
		{"rollout", "the hub is one place: there are no waves", new.Spec.Rollout != nil},
		{"overrides", "the hub is one place: there are no clusters to tell apart", len(new.Spec.Overrides) > 0},
		{"lateBinding", "there is no cluster whose values could be bound; what the objects bind is bound on their clusters", new.Spec.LateBinding},
	} {
		if f.given {
			errs = append(errs, field.Forbidden(spec.Child(f.name), "with placement.hub: "+f.why))
		}
	}
	return errs
}
