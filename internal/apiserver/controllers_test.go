package apiserver

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestDeletedNamespaceGoesWithItsObjects(t *testing.T) {
	client, namespace := adminClient(t), newNamespace(t)
	createConfigMap(t, namespace, "inside")
	createRing(t, namespace, "inside", 3)
	if err := client.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "namespace is gone", func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

func TestOrphansOfABuiltInOwnerAndOfACustomOneAreCollected(t *testing.T) {
	client, namespace := adminClient(t), newNamespace(t)
	maps := client.CoreV1().ConfigMaps(namespace)
	owner := createConfigMap(t, namespace, "owner")
	ring := createRing(t, namespace, "owner", 3)
	createConfigMap(t, namespace, "of-map", metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID})
	createConfigMap(t, namespace, "of-ring", metav1.OwnerReference{APIVersion: "test.atoll.dev/v1", Kind: "Ring", Name: ring.GetName(), UID: ring.GetUID()})
	createConfigMap(t, namespace, "of-nobody")

	if err := maps.Delete(t.Context(), "owner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := rings(t, namespace).Delete(t.Context(), "owner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"of-map", "of-ring"} {
		eventually(t, name+" is collected", func(ctx context.Context) (bool, error) {
			_, err := maps.Get(ctx, name, metav1.GetOptions{})
			return apierrors.IsNotFound(err), nil
		})
	}
	if _, err := maps.Get(t.Context(), "of-nobody", metav1.GetOptions{}); err != nil {
		t.Errorf("an object without owner is gone too: %v", err)
	}
}

func TestQuotaIsEnforcedForBuiltInAndCustomKinds(t *testing.T) {
	client, namespace := adminClient(t), newNamespace(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "few"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			"count/configmaps":           resource.MustParse("2"),
			"count/rings.test.atoll.dev": resource.MustParse("1"),
		}},
	}
	quotas := client.CoreV1().ResourceQuotas(namespace)
	if _, err := quotas.Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "quota has its usage", func(ctx context.Context) (bool, error) {
		quota, err := quotas.Get(ctx, "few", metav1.GetOptions{})
		return err == nil && len(quota.Status.Used) == 2, err
	})
	createConfigMap(t, namespace, "one")
	createConfigMap(t, namespace, "two")
	createRing(t, namespace, "one", 3)

	_, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap("three"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("third ConfigMap: got %v, want it forbidden", err)
	}
	_, err = rings(t, namespace).Create(t.Context(), ring("two", 3), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("second Ring: got %v, want it forbidden", err)
	}
	// The controller gives back what a deletion frees.
	if err := client.CoreV1().ConfigMaps(namespace).Delete(t.Context(), "one", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a deletion frees its place", func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ConfigMaps(namespace).Create(ctx, configMap("three"), metav1.CreateOptions{})
		return err == nil, nil
	})
}

func TestAdminEditAndViewHaveRules(t *testing.T) {
	client := adminClient(t)
	for _, name := range []string{"admin", "edit", "view"} {
		eventually(t, "ClusterRole "+name+" has rules", func(ctx context.Context) (bool, error) {
			role, err := client.RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
			return err == nil && len(role.Rules) > 0, err
		})
	}
}

func configMap(name string, owners ...metav1.OwnerReference) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: owners}}
}

func createConfigMap(t *testing.T, namespace, name string, owners ...metav1.OwnerReference) *corev1.ConfigMap {
	t.Helper()
	created, err := adminClient(t).CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap(name, owners...), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func ring(name string, size int64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "test.atoll.dev/v1",
		"kind":       "Ring",
		"metadata":   map[string]any{"name": name},
		"spec":       map[string]any{"size": size},
	}}
}

func createRing(t *testing.T, namespace, name string, size int64) *unstructured.Unstructured {
	t.Helper()
	created, err := rings(t, namespace).Create(t.Context(), ring(name, size), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return created
}
