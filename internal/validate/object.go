package validate

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

// Object validates any object of atoll.dev; old is nil on create. Objects of
// other groups pass. The error is an apierrors Invalid (422) with every field
// at fault, or a BadRequest when the object does not have the kind's shape.
func Object(gvk schema.GroupVersionKind, new, old *unstructured.Unstructured) error {
	if gvk.Group != v1alpha1.GroupVersion.Group || new == nil {
		return nil
	}
	// What was valid once may be updated in other ways, else a rule added later
	// would keep a stored object from being labelled, reported on or deleted.
	if old != nil && equality.Semantic.DeepEqual(new.Object["spec"], old.Object["spec"]) {
		return nil
	}
	typed, err := decode(gvk.Kind, new)
	if err != nil || typed == nil {
		return err
	}
	before, err := decode(gvk.Kind, old)
	if err != nil {
		return err
	}
	if errs := Typed(typed, before); len(errs) > 0 {
		return apierrors.NewInvalid(gvk.GroupKind(), new.GetName(), errs)
	}
	return nil
}

// Typed validates one of the API's types; old is nil on create, and of the same
// type otherwise.
func Typed(new, old runtime.Object) field.ErrorList {
	switch n := new.(type) {
	case *v1alpha1.Cluster:
		return Cluster(n, as[v1alpha1.Cluster](old))
	case *v1alpha1.Project:
		return Project(n, as[v1alpha1.Project](old))
	case *v1alpha1.Placement:
		return Placement(n, as[v1alpha1.Placement](old))
	case *v1alpha1.Application:
		return Application(n, as[v1alpha1.Application](old))
	case *v1alpha1.Revision:
		return Revision(n, as[v1alpha1.Revision](old))
	case *v1alpha1.AccessGrant:
		return AccessGrant(n, as[v1alpha1.AccessGrant](old))
	}
	return nil
}

// as is the typed nil when old is nil or of another type.
func as[T any](old runtime.Object) *T {
	typed, _ := any(old).(*T)
	return typed
}

// decode returns nil for nil and for kinds that this package does not know.
func decode(kind string, u *unstructured.Unstructured) (runtime.Object, error) {
	if u == nil {
		return nil, nil
	}
	var typed runtime.Object
	switch kind {
	case "Cluster":
		typed = &v1alpha1.Cluster{}
	case "Project":
		typed = &v1alpha1.Project{}
	case "Placement":
		typed = &v1alpha1.Placement{}
	case "Application":
		typed = &v1alpha1.Application{}
	case "Revision":
		typed = &v1alpha1.Revision{}
	case "AccessGrant":
		typed = &v1alpha1.AccessGrant{}
	default:
		return nil, nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed); err != nil {
		return nil, misshapen(kind, u, typed, err)
	}
	return typed, nil
}

// misshapen names the field of the wrong type, which the converter does not
// tell but encoding/json does.
func misshapen(kind string, u *unstructured.Unstructured, typed runtime.Object, cause error) error {
	data, err := json.Marshal(u.Object)
	if err == nil {
		err = json.Unmarshal(data, typed)
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind(kind).GroupKind(), u.GetName(), field.ErrorList{
			field.TypeInvalid(field.NewPath(wrong.Field), field.OmitValueType{}, "must be "+typeName(wrong.Type)+", not "+wrong.Value),
		})
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s %q does not have the shape of its kind: %v", kind, u.GetName(), cause))
}

// typeName is what a YAML author calls a Go type.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text (in quotes)"
	case reflect.Bool:
		return "true or false"
	case reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	}
	return "a map"
}
