package registry

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/trust"
)

// takenUp is the ConfigMap of the clusters that a rebuilt hub learned of from
// their agents, each with the key's fingerprint: one that a person removed again
// must not come back by itself.
const takenUp = "atoll-hub-taken-up"

// unknownOwner is until somebody says whose a cluster is that was taken up.
const unknownOwner = "unknown"

// TakeUp records a cluster by its agent's word. It counts as accepted, like one
// that was restored, and as unconfirmed, so that nothing is served to it.
func (r *Registry) TakeUp(ctx context.Context, cluster string, id trust.Enrolled) error {
	r.takingUp.Lock()
	defer r.takingUp.Unlock()
	known, err := r.Lookup(ctx, cluster)
	if err != nil || known.Identity != nil { // by another agent of the cluster, a moment ago
		return err
	}
	record := &corev1.ConfigMap{}
	err = r.client.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: takenUp}, record)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read which clusters were taken up: %w", err)
	}
	if record.Data[cluster] == id.Fingerprint {
		return &trust.Refused{Reason: trust.Revoked, Message: "cluster " + cluster + " was removed from this hub"}
	}
	if err := r.expect(ctx, cluster); err != nil {
		return err
	}
	if err := r.SaveIdentity(ctx, cluster, id); err != nil {
		return err
	}
	return r.noteTakenUp(ctx, record, cluster, id.Fingerprint)
}

// expect makes the Cluster, or has one that was declared anew wait like it.
func (r *Registry) expect(ctx context.Context, cluster string) error {
	unconfirmed := map[string]string{v1alpha1.AnnotationUnconfirmed: v1alpha1.UnconfirmedRebuilt}
	c, err := r.cluster(ctx, cluster)
	switch {
	case apierrors.IsNotFound(err):
		err = r.client.Create(ctx, &v1alpha1.Cluster{
			ObjectMeta: metav1.ObjectMeta{Name: cluster, Annotations: unconfirmed},
			Spec:       v1alpha1.ClusterSpec{Owner: unknownOwner, Accepted: true},
		})
	case err == nil && c.Spec.Accepted:
		before := c.DeepCopy()
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationUnconfirmed, v1alpha1.UnconfirmedRebuilt)
		err = r.client.Patch(ctx, c, client.MergeFrom(before))
	}
	if err != nil {
		return fmt.Errorf("take up cluster %s: %w", cluster, err)
	}
	return nil
}

func (r *Registry) noteTakenUp(ctx context.Context, record *corev1.ConfigMap, cluster, fingerprint string) error {
	if record.Data == nil {
		record.Data = map[string]string{}
	}
	record.Data[cluster] = fingerprint
	var err error
	if record.Name == "" {
		record.Namespace, record.Name = r.namespace, takenUp
		err = r.client.Create(ctx, record)
	} else {
		err = r.client.Update(ctx, record)
	}
	if err != nil {
		return fmt.Errorf("record that cluster %s was taken up: %w", cluster, err)
	}
	return nil
}
