package apiserver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"atoll.dev/atoll/api/v1alpha1/crds"
)

type props = map[string]apiextensionsv1.JSONSchemaProps

func object(p props) apiextensionsv1.JSONSchemaProps {
	return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: p}
}

func definition(versions map[string]apiextensionsv1.JSONSchemaProps) *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	for name, schema := range versions {
		crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{
			Name: name, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &schema},
		})
	}
	return crd
}

func TestADefinitionMayOnlyGrow(t *testing.T) {
	list := func(items apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &items}}
	}
	byKey := func(value apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: &value}}
	}
	small, large := object(props{"a": {}}), object(props{"a": {}, "b": {}})
	for name, c := range map[string]struct {
		there, next map[string]apiextensionsv1.JSONSchemaProps
		lost        []string
	}{
		"the same":                   {props{"v1": large}, props{"v1": large}, nil},
		"another field":              {props{"v1": small}, props{"v1": large}, nil},
		"another version":            {props{"v1": small}, props{"v1": small, "v2": small}, nil},
		"a field less":               {props{"v1": large}, props{"v1": small}, []string{"field .b"}},
		"a version less":             {props{"v1": small, "v2": small}, props{"v1": small}, []string{"version v2"}},
		"a field less within":        {props{"v1": object(props{"spec": large})}, props{"v1": object(props{"spec": small})}, []string{"field .spec.b"}},
		"a field less in a list":     {props{"v1": object(props{"l": list(large)})}, props{"v1": object(props{"l": list(small)})}, []string{"field .l[].b"}},
		"a field less in each value": {props{"v1": object(props{"m": byKey(large)})}, props{"v1": object(props{"m": byKey(small)})}, []string{"field .m{}.b"}},
	} {
		if diff := cmp.Diff(c.lost, lostBy(definition(c.there), definition(c.next))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	all, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range all {
		if lost := lostBy(crd, crd); len(lost) > 0 {
			t.Errorf("%s loses %v to itself", crd.Name, lost)
		}
	}
}
