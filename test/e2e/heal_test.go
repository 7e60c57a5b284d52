package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/testfleet"
)

// hurt deletes one object of the shop and edits another; the function returned
// waits until both are as they were delivered.
func hurt(t *testing.T, m *testfleet.Member) (healed func()) {
	t.Helper()
	cart, ads := &appsv1.Deployment{}, &appsv1.Deployment{}
	for name, d := range map[string]*appsv1.Deployment{"cart": cart, "ads": ads} {
		if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, d); err != nil {
			t.Fatal(err)
		}
	}
	image := ads.Spec.Template.Spec.Containers[0].Image
	deleteIn(t, m, &appsv1.Deployment{ObjectMeta: named("shop", "cart")})
	edit := mergePatch(map[string]any{"metadata": map[string]any{"labels": map[string]any{"edited": "by-hand"}}})
	if err := m.Client().Patch(t.Context(), ads.DeepCopy(), edit); err != nil {
		t.Fatal(err)
	}
	changed := ads.DeepCopy()
	changed.ManagedFields, changed.ResourceVersion = nil, ""
	changed.Spec.Template.Spec.Containers[0].Image = "shop/stranger:1"
	if err := m.Client().Patch(t.Context(), changed, client.StrategicMergeFrom(ads), client.FieldOwner("by-hand")); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		eventually(t, "cart comes back", func(ctx context.Context) error {
			d := &appsv1.Deployment{}
			err := m.Client().Get(ctx, client.ObjectKey{Namespace: "shop", Name: "cart"}, d)
			if err == nil && (d.UID == cart.UID || d.Status.AvailableReplicas == 0) {
				err = fmt.Errorf("UID %s, %d available", d.UID, d.Status.AvailableReplicas)
			}
			return err
		})
		eventually(t, "the image of ads comes back", func(ctx context.Context) error {
			d := &appsv1.Deployment{}
			err := m.Client().Get(ctx, client.ObjectKey{Namespace: "shop", Name: "ads"}, d)
			if got := d.Spec.Template.Spec.Containers; err == nil && got[0].Image != image {
				err = fmt.Errorf("it is %s", got[0].Image)
			}
			return err
		})
	}
}

func TestWhatIsDeletedOrEditedInAMemberHealsAndIsReported(t *testing.T) {
	f := fleet(t)
	app := shop(t, f)
	hurt(t, f.Member("a"))()
	app.On("a", "tells of the correction", func(s fleetapi.ClusterState) bool {
		return slices.ContainsFunc(s.State.Drift, func(c report.Change) bool {
			return c.Corrected && c.Object.Name == "ads" && has(c.Path, "image") && c.Manager == "by-hand" && has(c.Old+c.New, "stranger")
		})
	})
	app.Settles(2)
	// What others add is theirs; only what was delivered is forced back.
	ads := &appsv1.Deployment{}
	if err := f.Member("a").Client().Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "ads"}, ads); err != nil {
		t.Fatal(err)
	}
	if ads.Labels["edited"] != "by-hand" {
		t.Error("a label that somebody added was taken away")
	}
}

func TestWhatIsDeletedOrEditedHealsWhileTheHubIsDead(t *testing.T) {
	f := fleet(t)
	app := shop(t, f)
	f.Hub.Kill()
	hurt(t, f.Member("b"))()
	f.Hub.Start()
	app.Settles(2)
	app.On("b", "tells what happened meanwhile", func(s fleetapi.ClusterState) bool {
		return s.State.Corrections > 0 && slices.ContainsFunc(s.State.Drift, func(c report.Change) bool { return c.Object.Name == "ads" && c.Corrected })
	})
}

func TestAnAgentThatStartsWhileTheHubIsDeadEnforcesWhatItStored(t *testing.T) {
	f := fleet(t)
	app := shop(t, f)
	a := f.Member("a")
	f.Hub.Kill()
	a.Agent.Kill()
	deleteIn(t, a, &corev1.ConfigMap{ObjectMeta: named("shop", "products")})
	healed := hurt(t, a)
	a.Agent.Start()
	healed()
	eventually(t, "products comes back", func(ctx context.Context) error {
		return a.Client().Get(ctx, client.ObjectKey{Namespace: "shop", Name: "products"}, &corev1.ConfigMap{})
	})
	f.Hub.Start()
	app.Settles(2)
}

func TestReplicasThatAnAutoscalerGovernsAreNotDrift(t *testing.T) {
	f := fleet(t)
	f.Project("scaled")
	app := f.Deploy("scaled", "web", stream(deployment("web", "web:1", 2), `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler,
 metadata: {name: web}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 1, maxReplicas: 6}}
`), "--cluster", "a")
	inSync := func(s fleetapi.ClusterState) bool { return s.Current && s.State.Sync == report.InSync }
	before := app.On("a", "is in sync", inSync).State.Corrections
	m := f.Member("a")
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 4}}
	web := &appsv1.Deployment{ObjectMeta: named("scaled", "web")}
	if err := m.Client().SubResource("scale").Update(t.Context(), web, client.WithSubResourceBody(scale), client.FieldOwner("horizontal-pod-autoscaler")); err != nil {
		t.Fatal(err)
	}
	// An edit after it is corrected; so the agent has seen the scaling too.
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: named("scaled", "web")}
	if err := m.Client().Patch(t.Context(), hpa, mergePatch(map[string]any{"spec": map[string]any{"maxReplicas": 9}})); err != nil {
		t.Fatal(err)
	}
	after := app.On("a", "corrects the edit only", func(s fleetapi.ClusterState) bool { return s.State.Corrections > before && inSync(s) })
	if i := slices.IndexFunc(after.State.Drift, func(c report.Change) bool { return has(c.Path, "replicas") && !has(c.Path, "max") }); i >= 0 {
		t.Errorf("scaling is reported as drift: %+v", after.State.Drift[i])
	}
	if err := m.Client().Get(t.Context(), client.ObjectKeyFromObject(web), web); err != nil || *web.Spec.Replicas != 4 {
		t.Errorf("the scaler asked for 4 replicas, there are %d (%v)", *web.Spec.Replicas, err)
	}
	// Nor does a new revision of the application take the number back.
	f.Deploy("scaled", "web", stream(deployment("web", "web:2", 2), `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler,
 metadata: {name: web}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 1, maxReplicas: 6}}
`))
	eventually(t, "the new image with 4 replicas", func(ctx context.Context) error {
		if err := m.Client().Get(ctx, client.ObjectKeyFromObject(web), web); err != nil {
			return err
		}
		if web.Spec.Template.Spec.Containers[0].Image != "web:2" {
			return errors.New("the old image")
		}
		return nil
	})
	app.On("a", "is in sync", inSync)
	if err := m.Client().Get(t.Context(), client.ObjectKeyFromObject(web), web); err != nil || *web.Spec.Replicas != 4 {
		t.Errorf("a new revision set the replicas to %d (%v)", *web.Spec.Replicas, err)
	}
}
