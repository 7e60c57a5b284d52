package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

// Write is one request to change an object, after mutation and after its
// schema and CEL rules have passed.
type Write struct {
	Kind        schema.GroupVersionKind
	Resource    schema.GroupVersionResource
	Subresource string
	Operation   admission.Operation // Create, Update or Delete
	Namespace   string
	Name        string // empty when the server is to generate one
	// Old is nil on Create, New is nil on Delete. Both belong to the server.
	Old, New *unstructured.Unstructured
	User     user.Info
	// FieldManager is as whom it is written; empty on Delete.
	FieldManager string
	DryRun       bool
	// Request is the ID of the request, as the API server gave it.
	Request string
}

// Validator judges writes in process, where a webhook would cost a connection
// and could be away.
type Validator interface {
	// Judges reports whether it wants to see writes to resource. Objects of
	// built-in kinds are converted for it, so it should not ask for all of them.
	Judges(resource schema.GroupVersionResource) bool
	// Validate returns nil to admit. Field errors (a *field.Error or the
	// aggregate of a field.ErrorList) answer 422 and name the fields; an
	// apierrors status is passed on; anything else answers 403 with its text.
	Validate(ctx context.Context, write Write) error
}

const validationPlugin = "AtollValidation"

// validation runs validators as an admission plugin, and tells the witness.
type validation struct {
	*admission.Handler
	validators []Validator
	witness    Witness
}

var _ admission.ValidationInterface = &validation{}

func registerValidators(plugins *admission.Plugins, validators []Validator, witness Witness) {
	plugins.Register(validationPlugin, func(io.Reader) (admission.Interface, error) {
		return &validation{admission.NewHandler(admission.Create, admission.Update, admission.Delete), validators, witness}, nil
	})
}

// Validate asks every validator that judges the resource; the first refusal is
// the answer.
func (v *validation) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	refused := v.judge(ctx, a)
	if v.witness == nil || !v.witness.Sees(ctx, a.GetResource().GroupResource(), a.GetUserInfo()) {
		return refused
	}
	if asked := (&Write{Resource: a.GetResource(), Subresource: a.GetSubresource(), Operation: a.GetOperation()}); a.IsDryRun() && !asked.Reveals() {
		return refused
	}
	// What cannot be converted is told by its name.
	write, _ := newWrite(a)
	write.Request = RequestID(ctx)
	return witnessed(ctx, v.witness, write, refused)
}

func (v *validation) judge(ctx context.Context, a admission.Attributes) error {
	var write *Write
	for _, validator := range v.validators {
		if !validator.Judges(a.GetResource()) {
			continue
		}
		if write == nil {
			var err error
			if write, err = newWrite(a); err != nil {
				return apierrors.NewInternalError(err)
			}
		}
		if err := validator.Validate(ctx, *write); err != nil {
			return refusal(a, err)
		}
	}
	return nil
}

func newWrite(a admission.Attributes) (*Write, error) {
	write := &Write{
		Kind:        a.GetKind(),
		Resource:    a.GetResource(),
		Subresource: a.GetSubresource(),
		Operation:   a.GetOperation(),
		Namespace:   a.GetNamespace(),
		Name:        a.GetName(),
		User:        a.GetUserInfo(),
		DryRun:      a.IsDryRun(),
	}
	switch o := a.GetOperationOptions().(type) {
	case *metav1.CreateOptions:
		write.FieldManager = o.FieldManager
	case *metav1.UpdateOptions: // of a patch too
		write.FieldManager = o.FieldManager
	}
	var err error
	if a.GetOperation() != admission.Delete {
		write.New, err = toUnstructured(a.GetObject(), a.GetKind())
	}
	if err == nil && a.GetOperation() != admission.Create {
		write.Old, err = toUnstructured(a.GetOldObject(), a.GetKind())
	}
	return write, err
}

// toUnstructured gives custom resources as they are; built-in kinds arrive as
// internal types and are converted to the version of the request.
func toUnstructured(object runtime.Object, kind schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	if object == nil {
		return nil, nil
	}
	if u, ok := object.(*unstructured.Unstructured); ok {
		return u, nil
	}
	versioned, err := legacyscheme.Scheme.ConvertToVersion(object, kind.GroupVersion())
	if err != nil {
		return nil, fmt.Errorf("convert %T for validation: %w", object, err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(versioned)
	if err != nil {
		return nil, fmt.Errorf("convert %T for validation: %w", object, err)
	}
	return &unstructured.Unstructured{Object: content}, nil
}

func refusal(a admission.Attributes, err error) error {
	if fields := fieldErrors(err); len(fields) > 0 {
		return apierrors.NewInvalid(a.GetKind().GroupKind(), a.GetName(), fields)
	}
	// Bare, for the server looks for a status only at the top.
	if status := (*apierrors.StatusError)(nil); errors.As(err, &status) {
		return status
	}
	return admission.NewForbidden(a, err)
}

// fieldErrors returns err's field errors, or none unless all of it are: a
// refusal for another reason must not hide behind a list of fields.
func fieldErrors(err error) field.ErrorList {
	switch err := err.(type) { //nolint:errorlint // It walks the tree itself.
	case *field.Error:
		return field.ErrorList{err}
	case utilerrors.Aggregate:
		return allFieldErrors(err.Errors())
	case interface{ Unwrap() []error }:
		return allFieldErrors(err.Unwrap())
	case interface{ Unwrap() error }:
		return fieldErrors(err.Unwrap())
	}
	return nil
}

func allFieldErrors(errs []error) field.ErrorList {
	var list field.ErrorList
	for _, err := range errs {
		fields := fieldErrors(err)
		if len(fields) == 0 {
			return nil
		}
		list = append(list, fields...)
	}
	return list
}
