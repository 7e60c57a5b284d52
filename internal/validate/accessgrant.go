package validate

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/access"
)

// AccessGrant validates an AccessGrant; old is nil on create.
func AccessGrant(new, _ *v1alpha1.AccessGrant) field.ErrorList {
	spec := field.NewPath("spec")
	s := new.Spec
	errs := objectName(new.Name, maxClusterName)
	if !slices.Contains(access.Names(), string(s.Role)) {
		errs = append(errs, field.NotSupported(spec.Child("role"), s.Role, access.Names()))
	}
	if len(s.Users)+len(s.Groups) == 0 {
		errs = append(errs, field.Required(spec, "give users or groups: a grant to nobody gives nothing"))
	}
	errs = append(errs, people(spec.Child("users"), s.Users)...)
	errs = append(errs, people(spec.Child("groups"), s.Groups)...)
	errs = append(errs, text(spec.Child("reason"), s.Reason)...)
	for i, project := range s.Projects {
		for _, problem := range objectName(project, maxShortName) {
			errs = append(errs, field.Invalid(spec.Child("projects").Index(i), project, problem.Detail))
		}
	}
	return errs
}

// people checks names of users or groups. They are compared letter by letter, so
// one that looks like another would give the right to somebody else.
func people(path *field.Path, names []string) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, name := range names {
		at := path.Index(i)
		switch {
		case name == "":
			errs = append(errs, field.Required(at, "an empty entry names nobody; remove it"))
		case seen[name]:
			errs = append(errs, field.Duplicate(at, name))
		case strings.TrimSpace(name) != name:
			errs = append(errs, field.Invalid(at, name, "must not begin or end with a space"))
		case strings.HasPrefix(name, "system:"):
			errs = append(errs, field.Forbidden(at, "names that begin with system: belong to Kubernetes itself; name a person or a group of your own"))
		}
		seen[name] = true
		errs = append(errs, text(at, name)...)
	}
	return errs
}
