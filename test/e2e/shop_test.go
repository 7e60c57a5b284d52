package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/testfleet"
)

// shop is the sample application on every production cluster. All tests share
// the one delivery; a second call finds it as it is.
func shop(t *testing.T, f *testfleet.Fleet) *testfleet.App {
	t.Helper()
	app := f.App("demo", "shop")
	err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "shop"}, &v1alpha1.Application{})
	if err != nil {
		example := filepath.Join(module, "examples", "shop")
		f.Hub.MustCLI("apply", "-f", filepath.Join(example, "project.yaml"))
		f.Hub.MustCLI("deploy", "shop", "-f", filepath.Join(example, "deploy"), "--project", "demo", "--to", "stage=production", "--wait")
	}
	app.Settles(2)
	return app
}

func TestTheShopRunsOnEveryClusterThatTheSelectorChoosesAndItsStatusIsTrue(t *testing.T) {
	f := fleet(t)
	app := shop(t, f)
	status := app.Get().Status
	if want := []string{"a", "b"}; fmt.Sprint(status.Clusters) != fmt.Sprint(want) || len(status.Exceptions) > 0 {
		t.Errorf("it is on %v with exceptions %v", status.Clusters, status.Exceptions)
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionPlaced, v1alpha1.ConditionSynced, v1alpha1.ConditionHealthy, v1alpha1.ConditionReady} {
		if !conditionIs(status.Conditions, kind, metav1.ConditionTrue) {
			t.Errorf("condition %s is not true: %+v", kind, status.Conditions)
		}
	}
	tree, err := f.Hub.Fleet().Objects(t.Context(), app.Project, app.Name, "")
	if err != nil || len(tree.Silent) > 0 || len(tree.Clusters) != 2 {
		t.Fatalf("the tree: %+v, %v", tree, err)
	}
	clusters, err := f.Hub.Fleet().ApplicationClusters(t.Context(), app.Project, app.Name)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range tree.Clusters {
		if n := clusters.Clusters[i].State.Objects; int(n) != len(c.Objects) || n != clusters.Clusters[i].State.Ready {
			t.Errorf("%s reports %d objects, %d ready; the tree has %d", c.Cluster, n, clusters.Clusters[i].State.Ready, len(c.Objects))
		}
		for _, o := range c.Objects {
			inMember(t, f.Member(c.Cluster), o.Ref, o.UID)
		}
	}
	if out := f.Hub.MustCLI("get", "apps", "-p", "demo"); !has(out, "shop", "2") {
		t.Errorf("get apps says\n%s", out)
	}
}

// inMember asserts that exactly that object is in the member, and that a
// Deployment is as available as it was reported.
func inMember(t *testing.T, m *testfleet.Member, ref report.ObjectRef, uid string) {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(metav1.GroupVersion{Group: ref.Group, Version: ref.Version}.String())
	u.SetKind(ref.Kind)
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, u); err != nil {
		t.Errorf("%s on %s: %v", ref, m.Name, err)
		return
	}
	if string(u.GetUID()) != uid {
		t.Errorf("%s on %s has UID %s; reported is %s", ref, m.Name, u.GetUID(), uid)
	}
	if ref.Kind != "Deployment" {
		return
	}
	want, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas")
	if got, _, _ := unstructured.NestedInt64(u.Object, "status", "availableReplicas"); got != want || want == 0 {
		t.Errorf("%s on %s is reported healthy with %d of %d available", ref, m.Name, got, want)
	}
}

func TestAPublicApplicationIsDeliveredUnchanged(t *testing.T) {
	manifests := filepath.Join(module, "..", "shared", "fixtures", "online-boutique", "all.yaml")
	if _, err := os.Stat(manifests); errors.Is(err, os.ErrNotExist) {
		t.Skip("the fixture online-boutique is not beside this checkout")
	}
	f := fleet(t)
	f.Project("boutique")
	f.Hub.MustCLI("deploy", "boutique", "-f", manifests, "-p", "boutique", "--to", "stage=production", "--wait")
	f.App("boutique", "boutique").Settles(2)
	for _, name := range []string{"a", "b"} {
		list := &appsv1.DeploymentList{}
		if err := f.Member(name).Client().List(t.Context(), list, client.InNamespace("boutique")); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) < 11 {
			t.Errorf("%s has %d Deployments", name, len(list.Items))
		}
		for _, d := range list.Items {
			if d.Status.AvailableReplicas == 0 {
				t.Errorf("%s on %s is reported healthy and not available", d.Name, name)
			}
		}
	}
}

func TestAnApplicationFollowsTheLabelsOfClusters(t *testing.T) {
	f := fleet(t)
	f.Project("follows")
	app := f.Deploy("follows", "web", configMap("web", "1"), "--to", "wave=first")
	app.Eventually("nowhere yet", func(app *v1alpha1.Application) bool {
		return conditionIs(app.Status.Conditions, v1alpha1.ConditionPlaced, metav1.ConditionFalse)
	})
	label := func(cluster string, value any) {
		t.Helper()
		eventually(t, "the label of "+cluster, func(ctx context.Context) error {
			return f.Hub.Client().Patch(ctx, &v1alpha1.Cluster{ObjectMeta: named("", cluster)}, mergePatch(map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"wave": value}}}))
		})
	}
	label("a", "first")
	app.Settles(1)
	label("b", "first")
	app.Settles(2)
	becomes(t, f.Member("b"), "follows", "web", "1")
	label("a", nil)
	app.Settles(1)
	becomes(t, f.Member("a"), "follows", "web", "1") // orphan by default
	label("b", nil)
}
