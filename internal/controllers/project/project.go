// Package project gives each Project its hub namespace and keeps it from being
// deleted while applications live in it: losing the project would lose the
// bounds of what they may do.
package project

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
)

// finalizer keeps a Project while it has applications.
const finalizer = "atoll.dev/applications"

// Reconciler keeps Projects.
type Reconciler struct {
	Client client.Client
}

// Reconcile keeps one Project.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	p := &v1alpha1.Project{}
	if err := r.Client.Get(ctx, req.NamespacedName, p); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if p.DeletionTimestamp != nil {
		return ctrl.Result{}, r.release(ctx, p)
	}
	if controllerutil.AddFinalizer(p, finalizer) {
		if err := r.Client.Update(ctx, p); err != nil {
			return ctrl.Result{}, fmt.Errorf("guard project %s: %w", p.Name, err)
		}
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Labels: map[string]string{"atoll.dev/project": p.Name}}}
	if err := r.Client.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		return ctrl.Result{}, fmt.Errorf("create the namespace of project %s: %w", p.Name, err)
	}
	message, err := r.owns(ctx, p)
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.ready(ctx, p, metav1.ConditionTrue, "Ready", message)
}

// owns says what of its claims other projects have.
func (r *Reconciler) owns(ctx context.Context, p *v1alpha1.Project) (string, error) {
	var projects v1alpha1.ProjectList
	var clusters v1alpha1.ClusterList
	if err := errors.Join(r.Client.List(ctx, &projects), r.Client.List(ctx, &clusters)); err != nil {
		return "", fmt.Errorf("read what other projects claim beside %s: %w", p.Name, err)
	}
	message := "namespace " + p.Name + " is there"
	if taken := assign.Taken(assign.Bound(p, projects.Items, clusters.Items)); taken != "" {
		message += "; of what it claims in clusters, others own " + taken
	}
	return message, nil
}

// release lets the Project go once nothing lives in it. Its namespace stays:
// deleting that is a decision of its own.
func (r *Reconciler) release(ctx context.Context, p *v1alpha1.Project) error {
	var apps v1alpha1.ApplicationList
	if err := r.Client.List(ctx, &apps, client.InNamespace(p.Name)); err != nil {
		return fmt.Errorf("list the applications of project %s: %w", p.Name, err)
	}
	if n := len(apps.Items); n > 0 {
		return r.ready(ctx, p, metav1.ConditionFalse, "HasApplications",
			fmt.Sprintf("%d applications must be deleted first, such as %s", n, apps.Items[0].Name))
	}
	if !controllerutil.RemoveFinalizer(p, finalizer) {
		return nil
	}
	if err := r.Client.Update(ctx, p); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("release project %s: %w", p.Name, err)
	}
	return nil
}

func (r *Reconciler) ready(ctx context.Context, p *v1alpha1.Project, status metav1.ConditionStatus, reason, message string) error {
	next := p.DeepCopy()
	if !meta.SetStatusCondition(&next.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message, ObservedGeneration: p.Generation,
	}) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, next, client.MergeFrom(p)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of project %s: %w", p.Name, err)
	}
	return nil
}
