package application

import (
	"context"
	"reflect"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
)

// fetchedStatus is the part of the status that the loop owns which follows a
// source, internal/controllers/source.
type fetchedStatus struct {
	Source     *v1alpha1.FetchedSource `json:"source,omitempty"`
	Conditions []metav1.Condition      `json:"conditions,omitempty"`
}

// RecordFetched writes what was fetched and what the last look led to, on
// change only; nil for an application whose source is not followed.
func RecordFetched(ctx context.Context, c client.Client, app *v1alpha1.Application, fetched *v1alpha1.FetchedSource, looked *assign.Condition) (changed bool, err error) {
	was := fetchedStatus{Source: app.Status.Source}
	if now := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionFetched); now != nil {
		was.Conditions = []metav1.Condition{*now}
	}
	next := fetchedStatus{Source: fetched}
	if looked != nil {
		next.Conditions = withCondition(was.Conditions, condition(app, v1alpha1.ConditionFetched, looked.True, looked.Reason, looked.Message))
	}
	if reflect.DeepEqual(was, next) {
		return false, nil
	}
	return true, applyStatus(ctx, c, app, "atoll-source", &next)
}
