package validate

import (
	"encoding/json"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

// rendering judges how a fetched folder is to be rendered; whether it is a
// chart or a kustomization is found out by fetching.
func rendering(at *field.Path, s v1alpha1.Source) field.ErrorList {
	var errs field.ErrorList
	if s.Chart != nil && s.Kustomize != nil {
		errs = append(errs, field.Forbidden(at.Child("kustomize"), "chart names a chart, which is no kustomization"))
	}
	if s.Helm != nil && s.Kustomize != nil {
		errs = append(errs, field.Forbidden(at.Child("kustomize"), "helm is given too; keep the one that the folder is"))
	}
	if h := s.Helm; h != nil {
		for i, name := range h.ValuesFiles {
			if path.IsAbs(name) || strings.Contains(name, "://") {
				errs = append(errs, field.Invalid(at.Child("helm", "valuesFiles").Index(i), name, "must be relative to the chart's folder, in the same source"))
			}
		}
		for i, from := range h.ValuesFrom {
			errs = append(errs, subdomain(at.Child("helm", "valuesFrom").Index(i).Child("name"), from.Name)...)
		}
		if h.Values != nil && len(h.Values.Raw) > 0 {
			var values map[string]any
			if json.Unmarshal(h.Values.Raw, &values) != nil || len(h.Values.Raw) > maxInline {
				errs = append(errs, field.Invalid(at.Child("helm", "values"), field.OmitValueType{}, "must be a map of at most 256 KiB; put more into values files"))
			}
		}
	}
	if k := s.Kustomize; k != nil {
		for i, image := range k.Images {
			errs = append(errs, changedImage(at.Child("kustomize", "images").Index(i), image)...)
		}
	}
	return errs
}
