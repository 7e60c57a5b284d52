package validate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/drift"
	origin "atoll.dev/atoll/internal/source"
)

const (
	maxInline   = 256 << 10
	maxVariable = 4096
)

// Application validates an Application; old is nil on create.
func Application(new, old *v1alpha1.Application) field.ErrorList {
	spec := field.NewPath("spec")
	s := new.Spec
	errs := objectName(new.Name, maxShortName)
	errs = append(errs, source(spec.Child("source"), s)...)
	if s.Placement != nil {
		errs = append(errs, applicationPlacement(spec.Child("placement"), *s.Placement)...)
	}
	errs = append(errs, hubTarget(spec, new, old)...)
	errs = append(errs, targetNamespace(spec.Child("namespace"), s.Namespace)...)
	errs = append(errs, overrides(spec.Child("overrides"), s)...)
	errs = append(errs, rolloutRules(spec.Child("rollout"), s.Rollout)...)
	errs = append(errs, dependencies(spec.Child("dependsOn"), new.Name, s.DependsOn)...)
	errs = append(errs, syncRules(spec.Child("sync"), s.Sync)...)
	errs = append(errs, driftRules(spec.Child("drift"), s.Drift)...)
	errs = append(errs, onDelete(spec.Child("onDelete"), s.OnDelete)...)
	errs = append(errs, variables(spec, s)...)
	errs = append(errs, healthRules(spec.Child("health"), s.Health)...)
	return errs
}

func source(path *field.Path, s v1alpha1.ApplicationSpec) field.ErrorList {
	inline, upload := s.Source.Inline != "", s.Source.Content != nil
	follow := origin.Followed(s.Source)
	switch {
	case follow != nil && (inline || upload):
		return field.ErrorList{field.Forbidden(path.Child(follow.Field), "inline or content is given too; keep one of them")}
	case follow != nil && severalFollowed(s.Source):
		return field.ErrorList{field.Forbidden(path, "give one of git, chart and oci")}
	case follow != nil:
		return append(followed(path.Child(follow.Field), s.Source, follow), rendering(path, s.Source)...)
	case s.Source.Helm != nil:
		return field.ErrorList{field.Forbidden(path.Child("helm"), "it says how a chart of git, chart or oci is rendered")}
	case s.Source.Kustomize != nil:
		return field.ErrorList{field.Forbidden(path.Child("kustomize"), "it says how a folder of git or oci is rendered")}
	case inline && upload:
		return field.ErrorList{field.Forbidden(path.Child("content"), "inline is given too; keep one of them")}
	case !inline && !upload:
		return field.ErrorList{field.Required(path, "give a Git repository, a chart, an artifact (oci), inline manifests, or content uploaded by: atoll deploy -f")}
	case inline:
		return manifests(path.Child("inline"), s.Source.Inline, s.LateBinding)
	}
	errs := text(path.Child("content", "origin"), s.Source.Content.Origin)
	if !digestForm.MatchString(s.Source.Content.Digest) {
		errs = append(errs, field.Invalid(path.Child("content", "digest"), s.Source.Content.Digest, `must be "sha256:" and 64 lower-case hex digits`))
	}
	return errs
}

// manifests parses inline YAML as the hub will; without a key for references
// the parser refuses Secret values. The value itself is never quoted, for it
// may hold one.
func manifests(path *field.Path, yaml string, lateBinding bool) field.ErrorList {
	if len(yaml) > maxInline {
		return field.ErrorList{field.TooLong(path, "", maxInline)}
	}
	parsed, err := content.Parse([]content.File{{Name: "inline", Data: []byte(yaml)}}, content.Options{})
	if err != nil {
		return problems(path, err)
	}
	if len(parsed.Bundle.Objects) == 0 {
		return field.ErrorList{field.Required(path, "holds no object; give at least one")}
	}
	if lateBinding {
		if _, err := parsed.Bundle.LateBound(); err != nil {
			return problems(path, err)
		}
	}
	return nil
}

// problems is one error for each problem that the parser found.
func problems(path *field.Path, err error) field.ErrorList {
	var several *content.Error
	if !errors.As(err, &several) {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, err.Error())}
	}
	var errs field.ErrorList
	for _, p := range several.Problems {
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, p.String()))
	}
	if several.More > 0 {
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, fmt.Sprintf("and %d more problems", several.More)))
	}
	return errs
}

func applicationPlacement(path *field.Path, p v1alpha1.ApplicationPlacement) field.ErrorList {
	if p.Hub {
		return hubAlone(path, p)
	}
	if p.Ref == "" {
		return rule(path, p.PlacementRule)
	}
	errs := subdomain(path.Child("ref"), p.Ref)
	if len(p.Names) > 0 || p.Clusters != "" || p.Where != "" || p.Count != nil {
		errs = append(errs, field.Forbidden(path.Child("ref"), "names a Placement; give it without names, clusters, where and count, or give these without ref"))
	}
	errs = append(errs, tolerations(path.Child("tolerations"), p.Tolerations)...)
	return append(errs, residency(path.Child("residency"), p.Residency)...)
}

func targetNamespace(path *field.Path, namespace string) field.ErrorList {
	switch namespace {
	case "":
		return nil
	case v1alpha1.SystemNamespace:
		return field.ErrorList{field.Forbidden(path, namespace+" belongs to the agent; nothing is delivered there")}
	}
	return dnsLabel(path, namespace)
}

func driftRules(path *field.Path, d v1alpha1.Drift) field.ErrorList {
	var errs field.ErrorList
	switch d.Mode {
	case "", v1alpha1.DriftCorrect, v1alpha1.DriftReport:
	default:
		errs = append(errs, field.NotSupported(path.Child("mode"), d.Mode, []v1alpha1.DriftMode{v1alpha1.DriftCorrect, v1alpha1.DriftReport}))
	}
	errs = append(errs, fieldRules(path.Child("ignore"), d.Ignore)...)
	return append(errs, fieldRules(path.Child("exact"), d.Exact)...)
}

func fieldRules(path *field.Path, rules []v1alpha1.FieldRule) field.ErrorList {
	var errs field.ErrorList
	for i, r := range rules {
		at := path.Index(i)
		errs = append(errs, group(at.Child("group"), r.Group)...)
		if r.Kind != "" {
			errs = append(errs, kind(at.Child("kind"), r.Kind)...)
		}
		if len(r.Paths) == 0 {
			errs = append(errs, field.Required(at.Child("paths"), `give at least one, such as "spec.replicas"`))
		}
		for j, p := range r.Paths {
			if _, err := drift.ParsePath(p); err != nil {
				errs = append(errs, field.Invalid(at.Child("paths").Index(j), p, err.Error()))
			}
		}
	}
	return errs
}

func onDelete(path *field.Path, policy v1alpha1.DeletionPolicy) field.ErrorList {
	switch policy {
	case "", v1alpha1.Orphan, v1alpha1.Delete:
		return nil
	}
	return field.ErrorList{field.NotSupported(path, policy, []v1alpha1.DeletionPolicy{v1alpha1.Orphan, v1alpha1.Delete})}
}

func variables(spec *field.Path, s v1alpha1.ApplicationSpec) field.ErrorList {
	var errs field.ErrorList
	path := spec.Child("variables")
	if len(s.Variables) > 0 && !s.LateBinding {
		errs = append(errs, field.Forbidden(path, "variables are only bound with lateBinding: true; set it or remove them"))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Variables)) {
		if !content.IsBindingName("var." + name) {
			errs = append(errs, field.Invalid(path.Key(name), name, "a variable's name is letters, digits, '.', '_', '/' and '-', with a letter or digit at both ends"))
		}
		if len(s.Variables[name]) > maxVariable {
			errs = append(errs, field.TooLong(path.Key(name), "", maxVariable))
		}
		if strings.Contains(s.Variables[name], "\x00") {
			errs = append(errs, field.Invalid(path.Key(name), field.OmitValueType{}, "holds a null byte; no Kubernetes string may"))
		}
	}
	return errs
}
