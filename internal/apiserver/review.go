package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"

	"atoll.dev/atoll/internal/audit"
)

// maxReview bounds a review in bytes: two objects of etcd's largest size.
const maxReview = 8 << 20

// reviews answers a host cluster's admission webhook.
type reviews func(context.Context, *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse

func (answers reviews) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	review := &admissionv1.AdmissionReview{}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxReview)).Decode(review); err != nil || review.Request == nil {
		http.Error(w, "an admission.k8s.io/v1 AdmissionReview with a request is expected", http.StatusBadRequest)
		return
	}
	answer := &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: answers(r.Context(), review.Request),
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the caller is gone if this fails
}

// reviewer judges writes by the validators that do so in process elsewhere, and
// tells the witness.
type reviewer struct {
	validators []Validator
	witness    Witness
}

func (v reviewer) judge(ctx context.Context, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	response := &admissionv1.AdmissionResponse{UID: request.UID, Allowed: true}
	if err := v.validate(ctx, request); err != nil {
		response.Allowed, response.Result = false, statusOf(err)
	}
	return response
}

func (v reviewer) validate(ctx context.Context, request *admissionv1.AdmissionRequest) error {
	write, err := reviewed(request)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return witnessed(audit.WithOrigin(ctx, nil), v.witness, write, v.judged(ctx, write)) // the origin of this call is the host
}

func (v reviewer) judged(ctx context.Context, write *Write) error {
	for _, validator := range v.validators {
		if !validator.Judges(write.Resource) {
			continue
		}
		if err := validator.Validate(ctx, *write); err != nil {
			return refusal(attributes(write), err)
		}
	}
	return nil
}

// reviewed is the write that a review asks about.
func reviewed(request *admissionv1.AdmissionRequest) (*Write, error) {
	write := &Write{
		Kind:        schema.GroupVersionKind(request.Kind),
		Resource:    schema.GroupVersionResource(request.Resource),
		Subresource: request.SubResource,
		Operation:   admission.Operation(request.Operation),
		Namespace:   request.Namespace,
		Name:        request.Name,
		User:        reviewedUser(request.UserInfo),
		DryRun:      request.DryRun != nil && *request.DryRun,
		Request:     string(request.UID),
	}
	for _, o := range []struct {
		raw  []byte
		into **unstructured.Unstructured
	}{{request.Object.Raw, &write.New}, {request.OldObject.Raw, &write.Old}} {
		if len(o.raw) == 0 {
			continue
		}
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(o.raw); err != nil {
			return nil, fmt.Errorf("read the object under review: %w", err)
		}
		*o.into = u
	}
	if len(request.Options.Raw) > 0 && write.Operation != admission.Delete {
		var options struct{ FieldManager string }
		if err := json.Unmarshal(request.Options.Raw, &options); err != nil {
			return nil, fmt.Errorf("read the options under review: %w", err)
		}
		write.FieldManager = options.FieldManager
	}
	if write.New == nil && write.Operation != admission.Delete || write.Old == nil && write.Operation == admission.Update {
		return nil, errors.New("the review lacks an object")
	}
	return write, nil
}

func reviewedUser(u authenticationv1.UserInfo) user.Info {
	extra := map[string][]string{}
	for k, v := range u.Extra {
		extra[k] = v
	}
	return &user.DefaultInfo{Name: u.Username, UID: u.UID, Groups: u.Groups, Extra: extra}
}

func attributes(w *Write) admission.Attributes {
	return admission.NewAttributesRecord(nil, nil, w.Kind, w.Namespace, w.Name, w.Resource, w.Subresource, w.Operation, nil, w.DryRun, w.User)
}

func statusOf(err error) *metav1.Status {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	return &status
}
