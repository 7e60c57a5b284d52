package validate

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

const maxDependencies = 16

func dependencies(path *field.Path, name string, list []v1alpha1.Dependency) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxDependencies {
		errs = append(errs, field.TooMany(path, len(list), maxDependencies))
	}
	seen := map[string]bool{}
	for i, d := range list {
		at := path.Index(i).Child("application")
		switch {
		case d.Application == name:
			errs = append(errs, field.Invalid(at, d.Application, "an application cannot wait for itself"))
		case seen[d.Application]:
			errs = append(errs, field.Duplicate(at, d.Application))
		case len(d.Application) > maxShortName || !nameForm.MatchString(d.Application):
			errs = append(errs, field.Invalid(at, d.Application, "is no application's name"))
		}
		seen[d.Application] = true
	}
	return errs
}

// Cycle follows what applications of a project depend on, and returns the way
// from one back to itself; nil when there is none. of tells what an application
// depends on, and is asked once for each.
func Cycle(name string, of func(name string) ([]string, error)) ([]string, error) {
	seen := map[string]bool{}
	var walk func(at string, way []string) ([]string, error)
	walk = func(at string, way []string) ([]string, error) {
		after, err := of(at)
		if err != nil {
			return nil, err
		}
		way = append(slices.Clone(way), at)
		for _, next := range after {
			if next == name {
				return append(way, next), nil
			}
			if seen[next] {
				continue
			}
			seen[next] = true
			if found, err := walk(next, way); found != nil || err != nil {
				return found, err
			}
		}
		return nil, nil
	}
	return walk(name, nil)
}

// DependsOn are the names that an application depends on.
func DependsOn(app *v1alpha1.Application) []string {
	names := make([]string, 0, len(app.Spec.DependsOn))
	for _, d := range app.Spec.DependsOn {
		names = append(names, d.Application)
	}
	return names
}
