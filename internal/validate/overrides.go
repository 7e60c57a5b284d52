package validate

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/override"
)

const (
	maxOverrides = 64
	// maxOverriding bounds all overrides together: each Revision keeps them.
	maxOverriding = 64 << 10
	maxReplicas   = 100_000
)

// overrides judges what can be told without the manifests; whether there is
// anything that they change is told when they are laid over.
func overrides(path *field.Path, s v1alpha1.ApplicationSpec) field.ErrorList {
	var errs field.ErrorList
	all := s.Overrides
	if len(all) > maxOverrides {
		return field.ErrorList{field.TooMany(path, len(all), maxOverrides)}
	}
	if text, err := json.Marshal(all); err != nil || len(text) > maxOverriding {
		errs = append(errs, field.Invalid(path, field.OmitValueType{}, "must be at most 64 KiB in all; put more into the source, or into applications of their own"))
	}
	for i, o := range all {
		at := path.Index(i)
		if strings.TrimSpace(o.Clusters) == "" {
			errs = append(errs, field.Required(at.Child("clusters"), `give a label selector such as "stage=production"`))
		}
		errs = append(errs, selector(at.Child("clusters"), o.Clusters)...)
		if len(o.Patches)+len(o.Images)+len(o.Replicas) == 0 && o.Values == nil {
			errs = append(errs, field.Required(at, "give values, patches, images or replicas"))
		}
		errs = append(errs, chartValues(at.Child("values"), s.Source, o.Values)...)
		for j, p := range o.Patches {
			errs = append(errs, patch(at.Child("patches").Index(j), p)...)
		}
		for j, image := range o.Images {
			errs = append(errs, changedImage(at.Child("images").Index(j), image)...)
		}
		for j, r := range o.Replicas {
			if r.Count < 0 || r.Count > maxReplicas {
				errs = append(errs, field.Invalid(at.Child("replicas").Index(j).Child("count"), r.Count, "must be from 0 to 100000"))
			}
		}
	}
	return errs
}

func chartValues(path *field.Path, s v1alpha1.Source, values *runtime.RawExtension) field.ErrorList {
	var fields map[string]any
	switch {
	case values == nil:
		return nil
	case s.Inline != "" || s.Content != nil || s.Kustomize != nil:
		return field.ErrorList{field.Forbidden(path, "they are a chart's; give patches, images or replicas")}
	case json.Unmarshal(values.Raw, &fields) != nil || fields == nil:
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "must be a map")}
	}
	return nil
}

// patch never quotes what was written: it may be a password, in the wrong place.
func patch(path *field.Path, p v1alpha1.ObjectPatch) field.ErrorList {
	errs := append(group(path.Child("target", "group"), p.Target.Group), kind(path.Child("target", "kind"), p.Target.Kind)...)
	if _, err := override.ParsePatch(p.Patch); err != nil {
		errs = append(errs, field.Invalid(path.Child("patch"), field.OmitValueType{}, err.Error()))
	}
	return errs
}

func changedImage(path *field.Path, image v1alpha1.ImageOverride) field.ErrorList {
	if image.NewName == "" && image.NewTag == "" && image.Digest == "" {
		return field.ErrorList{field.Required(path, "give newName, newTag or digest")}
	}
	return nil
}
