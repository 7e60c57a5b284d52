package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	foreignmarks "atoll.dev/atoll/internal/marks"
	"atoll.dev/atoll/internal/report"
)

// reached is a member, connected to once.
func (t *takeover) reached(ctx context.Context, cluster string) (*memberCalls, error) {
	if t.members[cluster] == nil {
		m, err := t.member(ctx, cluster)
		if err != nil {
			return nil, err
		}
		t.members[cluster] = m
	}
	return t.members[cluster], nil
}

// pods are those of all namespaces that the objects lie in, by cluster and UID:
// more than the application's own, so that none is missed.
func (t *takeover) pods(ctx context.Context) (map[string]string, error) {
	namespaces := map[string]map[string]bool{}
	for _, c := range t.objects {
		for _, o := range c.Objects {
			if namespaces[c.Cluster] == nil {
				namespaces[c.Cluster] = map[string]bool{}
			}
			namespaces[c.Cluster][o.Ref.Namespace] = o.Ref.Namespace != ""
		}
	}
	found := map[string]string{}
	for _, cluster := range slices.Sorted(maps.Keys(namespaces)) {
		m, err := t.reached(ctx, cluster)
		if err != nil {
			return nil, err
		}
		for namespace, named := range namespaces[cluster] {
			if !named {
				continue
			}
			list, err := m.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, fmt.Errorf("list the pods in %s on cluster %s: %w", namespace, cluster, err)
			}
			for _, pod := range list.Items {
				found[cluster+"/"+string(pod.GetUID())] = cluster + " " + namespace + "/" + pod.GetName()
			}
		}
	}
	return found, nil
}

// orphan deletes an object alone.
var orphan = metav1.DeleteOptions{PropagationPolicy: func() *metav1.DeletionPropagation {
	p := metav1.DeletePropagationOrphan
	return &p
}()}

// deleteSet comes first, for an ApplicationSet puts back what its Applications
// are made to forget.
func (t *takeover) deleteSet(ctx context.Context) error {
	if t.set == "" {
		return nil
	}
	sets := t.argo.objects.Resource(argoKind("applicationsets")).Namespace(t.namespace)
	err := sets.Delete(ctx, t.set, orphan)
	if apierrors.IsNotFound(err) {
		return nil // an earlier run did it
	}
	if err == nil {
		err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, t.timeout, true, func(ctx context.Context) (bool, error) {
			_, err := sets.Get(ctx, t.set, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return true, nil
			}
			return false, err
		})
	}
	if err != nil {
		return fmt.Errorf("delete ApplicationSet %s, leaving its Applications: %w", t.set, err)
	}
	t.say("ApplicationSet %s is deleted.", t.set)
	return nil
}

// stopTheirs ends Argo CD's own hand on the objects: what it would put back,
// and what it would delete with its Application.
func (t *takeover) stopTheirs(ctx context.Context) error {
	apps := t.argo.objects.Resource(argoKind("applications")).Namespace(t.namespace)
	for _, u := range t.theirs {
		finalizers := slices.DeleteFunc(u.GetFinalizers(), func(f string) bool {
			return strings.HasPrefix(f, "resources-finalizer.argocd.argoproj.io")
		})
		patch, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"finalizers": finalizers},
			"spec":     map[string]any{"syncPolicy": map[string]any{"automated": nil}},
		})
		if err == nil {
			_, err = apps.Patch(ctx, u.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		}
		if err != nil {
			return fmt.Errorf("stop the automatic sync of Application %s: %w", u.GetName(), err)
		}
		t.say("Application %s syncs no more by itself, and deletes nothing when it goes.", u.GetName())
	}
	return nil
}

// unmark takes off the objects what says that Argo CD reconciles them.
func (t *takeover) unmark(ctx context.Context) error {
	unmarked := 0
	for _, c := range t.objects {
		m, err := t.reached(ctx, c.Cluster)
		if err != nil {
			return err
		}
		for _, o := range c.Objects {
			changed, err := m.unmark(ctx, o.Ref)
			if err != nil {
				return fmt.Errorf("take Argo CD's marks off %s on cluster %s: %w", label(o.Ref), c.Cluster, err)
			}
			if changed {
				unmarked++
			}
		}
	}
	t.say("Argo CD's marks are off %s.", count(unmarked, "object"))
	return nil
}

// unmark also ends Argo CD's hold on fields, which would keep those that are
// taken out of the manifests later.
func (m *memberCalls) unmark(ctx context.Context, ref report.ObjectRef) (bool, error) {
	resource, err := m.of(ref)
	if err != nil {
		return false, err
	}
	live, err := resource.Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	var held []metav1.ManagedFieldsEntry
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != "argocd-controller" && entry.Manager != "argocd-application-controller" {
			held = append(held, entry)
		}
	}
	metadata := map[string]any{"resourceVersion": live.GetResourceVersion()}
	if _, ok := live.GetAnnotations()[foreignmarks.ArgoTracking]; ok {
		metadata["annotations"] = map[string]any{foreignmarks.ArgoTracking: nil}
	}
	if _, ok := live.GetLabels()[foreignmarks.ArgoInstance]; ok {
		metadata["labels"] = map[string]any{foreignmarks.ArgoInstance: nil}
	}
	switch {
	case len(held) == 0:
		// An empty list would be ignored; one empty entry clears it.
		metadata["managedFields"] = []any{map[string]any{}}
	case len(held) < len(live.GetManagedFields()):
		metadata["managedFields"] = held
	case len(metadata) == 1:
		return false, nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return false, err
	}
	_, err = resource.Patch(ctx, ref.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	return true, err
}

func (t *takeover) adopt(ctx context.Context) error {
	var targets []target
	for _, app := range t.ours {
		if err := t.hub.merge(ctx, applicationKind, app.Namespace, app.Name, map[string]any{"spec": map[string]any{"adopt": true}}); err != nil {
			return err
		}
		targets = append(targets, target{applicationKind, app.Namespace, app.Name})
	}
	return t.await(ctx, t.hub, targets, []string{"synced"}, t.timeout)
}

// same holds the pods against those of before. It ends the takeover where one
// is gone: a person finds out why while Argo CD still has its Application.
func (t *takeover) same(ctx context.Context, before map[string]string) error {
	after, err := t.pods(ctx)
	if err != nil {
		return err
	}
	var gone []string
	for uid, name := range before {
		if after[uid] == "" {
			gone = append(gone, name)
		}
	}
	if len(gone) > 0 {
		slices.Sort(gone)
		t.say("These pods are gone; Argo CD's Applications are left as they are:\n  %s", strings.Join(gone, "\n  "))
		return no()
	}
	t.say("All %s are the same as before.", count(len(before), "pod"))
	return nil
}

func (t *takeover) deleteTheirs(ctx context.Context) error {
	apps := t.argo.objects.Resource(argoKind("applications")).Namespace(t.namespace)
	for _, u := range t.theirs {
		if err := apps.Delete(ctx, u.GetName(), orphan); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete Application %s, leaving its objects: %w", u.GetName(), err)
		}
	}
	t.say("%s of Argo CD deleted; what they ran is Atoll's.", count(len(t.theirs), "Application"))
	return nil
}
