package apiserver

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// checkGrowth refuses to put older definitions in the place of newer ones: the
// fields they do not know would be dropped from what is stored.
func checkGrowth(ctx context.Context, config *rest.Config, crds []*apiextensionsv1.CustomResourceDefinition) error {
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make the client for custom resources: %w", err)
	}
	for _, crd := range crds {
		there, err := client.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, crd.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the definition %s: %w", crd.Name, err)
		}
		if lost := lostBy(there, crd); len(lost) > 0 {
			return fmt.Errorf("the cluster's definition %s has %s, which this version does not know: a newer hub has run here, and going back would drop what it stored; run that version or a newer one",
				crd.Name, lost[0])
		}
	}
	return nil
}

// lostBy names the versions and fields that the cluster has and next lacks.
func lostBy(there, next *apiextensionsv1.CustomResourceDefinition) []string {
	var lost []string
	for _, old := range there.Spec.Versions {
		i := slices.IndexFunc(next.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == old.Name })
		if i < 0 {
			lost = append(lost, "version "+old.Name)
			continue
		}
		if old.Schema != nil && next.Spec.Versions[i].Schema != nil {
			lost = append(lost, lostFields("", old.Schema.OpenAPIV3Schema, next.Spec.Versions[i].Schema.OpenAPIV3Schema)...)
		}
	}
	return lost
}

// lostFields walks two schemas side by side.
func lostFields(path string, old, next *apiextensionsv1.JSONSchemaProps) []string {
	if old == nil || next == nil {
		return nil
	}
	var lost []string
	for _, name := range slices.Sorted(maps.Keys(old.Properties)) {
		was := old.Properties[name]
		is, ok := next.Properties[name]
		if !ok {
			lost = append(lost, "field "+path+"."+name)
			continue
		}
		lost = append(lost, lostFields(path+"."+name, &was, &is)...)
	}
	if old.Items != nil && next.Items != nil {
		lost = append(lost, lostFields(path+"[]", old.Items.Schema, next.Items.Schema)...)
	}
	if old.AdditionalProperties != nil && next.AdditionalProperties != nil {
		lost = append(lost, lostFields(path+"{}", old.AdditionalProperties.Schema, next.AdditionalProperties.Schema)...)
	}
	return lost
}
