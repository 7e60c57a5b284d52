package apiserver

import (
	"context"
	"encoding/json"
	"io"
	"reflect"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

// Guard gives the objects of one resource a finalizer with the very write that
// makes them need it. One that a controller sets a moment later can come too late:
// an API server decides by the object that it read first whether a finalizer
// keeps it, and deletes what has got one since.
type Guard struct {
	Resource  schema.GroupVersionResource
	Finalizer string
	// Needs tells whether an object, which is not being deleted, must have it.
	Needs func(*unstructured.Unstructured) bool
}

// lacks tells whether a write needs the finalizer and comes without it. One that
// leaves the spec as it is may take it away: somebody clears up.
func (g *Guard) lacks(w *Write) bool {
	switch {
	case g == nil || w.Resource != g.Resource || w.Subresource != "" || w.New == nil:
		return false
	case w.New.GetDeletionTimestamp() != nil || slices.Contains(w.New.GetFinalizers(), g.Finalizer):
		return false
	case w.Old != nil && reflect.DeepEqual(w.Old.Object["spec"], w.New.Object["spec"]):
		return false
	}
	return g.Needs(w.New)
}

const guardPlugin = "AtollGuard"

// guarding sets finalizers as an admission plugin.
type guarding struct {
	*admission.Handler
	guard *Guard
}

var _ admission.MutationInterface = &guarding{}

func registerGuard(plugins *admission.Plugins, guard *Guard) {
	plugins.Register(guardPlugin, func(io.Reader) (admission.Interface, error) {
		return &guarding{admission.NewHandler(admission.Create, admission.Update), guard}, nil
	})
}

// Admit alters custom resources, which come as they are.
func (g *guarding) Admit(_ context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	object, ok := a.GetObject().(*unstructured.Unstructured)
	if !ok || a.GetResource() != g.guard.Resource {
		return nil
	}
	old, _ := a.GetOldObject().(*unstructured.Unstructured)
	if g.guard.lacks(&Write{Resource: a.GetResource(), Subresource: a.GetSubresource(), Old: old, New: object}) {
		object.SetFinalizers(append(object.GetFinalizers(), g.guard.Finalizer))
	}
	return nil
}

// complete answers a host cluster's webhook by a patch with what a write lacks.
func (g *Guard) complete(_ context.Context, request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	response := &admissionv1.AdmissionResponse{UID: request.UID, Allowed: true}
	write, err := reviewed(request)
	if err == nil && g.lacks(write) {
		kind := admissionv1.PatchTypeJSONPatch
		response.PatchType = &kind
		// The whole list: to add to one that is not there is an error.
		response.Patch, err = json.Marshal([]map[string]any{{
			"op": "add", "path": "/metadata/finalizers", "value": append(write.New.GetFinalizers(), g.Finalizer),
		}})
	}
	if err != nil {
		response.Allowed, response.Result = false, statusOf(apierrors.NewBadRequest(err.Error()))
	}
	return response
}
