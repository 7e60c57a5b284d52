package access

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

// Refuse judges a grant by what the object alone does not tell: where the hub keeps
// its own, whether it does so in a cluster that others may use too, and what time it is.
func Refuse(g *v1alpha1.AccessGrant, hub string, shared bool, now time.Time) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if until := g.Spec.Until; until != nil && !now.Before(until.Time) {
		errs = append(errs, field.Invalid(spec.Child("until"), until.UTC().Format(time.RFC3339),
			"is over: it is "+now.UTC().Format(time.RFC3339)+" by the hub's clock"))
	}
	if g.Namespace != hub && len(g.Spec.Projects) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("projects"),
			fmt.Sprintf("a grant in namespace %s is for that project alone; one for several stands in namespace %s", g.Namespace, hub)))
	}
	if g.Spec.Role == v1alpha1.RoleSecrets && shared {
		return append(errs, field.Forbidden(spec.Child("role"),
			"this hub stores in a cluster that others may use, and has no rights to Secrets there to give; bind a role of your own in the project's namespace"))
	}
	if g.Spec.Role == v1alpha1.RoleSecrets && Scopes(g, hub)[0] == Fleet {
		errs = append(errs, field.Required(spec.Child("projects"),
			"name the projects: in the fleet, role secrets would read what the hub keeps of its own"))
	}
	for i, project := range g.Spec.Projects {
		if project == hub {
			errs = append(errs, field.Forbidden(spec.Child("projects").Index(i), "namespace "+hub+" is where the hub keeps its own; it is no project"))
		}
	}
	return errs
}
