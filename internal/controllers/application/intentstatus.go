package application

import (
	"context"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
)

// intentStatus is the part of the status that the intent loop owns. The two
// loops apply their parts under different field managers, so neither can
// undo the other.
type intentStatus struct {
	Revision    string             `json:"revision,omitempty"`
	Variants    []v1alpha1.Variant `json:"variants,omitempty"`
	Rollout     string             `json:"rollout,omitempty"`
	Clusters    []string           `json:"clusters,omitempty"`
	Withdrawing []string           `json:"withdrawing,omitempty"`
	Conditions  []metav1.Condition `json:"conditions,omitempty"`
}

func statusOf(app *v1alpha1.Application) intentStatus {
	s := intentStatus{
		Revision:    app.Status.Revision,
		Variants:    app.Status.Variants,
		Rollout:     app.Status.Rollout,
		Clusters:    app.Status.Clusters,
		Withdrawing: app.Status.Withdrawing,
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionPlaced, v1alpha1.ConditionRolledOut, v1alpha1.ConditionFrozen} {
		if c := meta.FindStatusCondition(app.Status.Conditions, kind); c != nil {
			s.Conditions = append(s.Conditions, *c)
		}
	}
	return s
}

func (s *intentStatus) set(app *v1alpha1.Application, kind string, c assign.Condition) {
	s.Conditions = withCondition(s.Conditions, condition(app, kind, c.True, c.Reason, c.Message))
}

func (s *intentStatus) equal(o intentStatus) bool {
	if len(s.Clusters) == 0 && len(o.Clusters) == 0 {
		s.Clusters = o.Clusters
	}
	return reflect.DeepEqual(*s, o)
}

func (s *intentStatus) apply(ctx context.Context, c client.Client, app *v1alpha1.Application) error {
	return applyStatus(ctx, c, app, "atoll-intent", s)
}

func condition(app *v1alpha1.Application, kind string, ok bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: clip(message), ObservedGeneration: app.Generation}
}

// withCondition keeps the transition time while the status stays. The list
// given is not altered: it may be the cache's.
func withCondition(list []metav1.Condition, c metav1.Condition) []metav1.Condition {
	next := append([]metav1.Condition(nil), list...)
	meta.SetStatusCondition(&next, c)
	return next
}

// applyStatus owns exactly the given fields of the status.
func applyStatus(ctx context.Context, c client.Client, app *v1alpha1.Application, manager string, status any) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       "Application",
		"metadata":   map[string]any{"name": app.Name, "namespace": app.Namespace, "uid": string(app.UID)},
		"status":     fields,
	}}
	err = c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.ForceOwnership, client.FieldOwner(manager))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of application %s/%s: %w", app.Namespace, app.Name, err)
	}
	return nil
}
