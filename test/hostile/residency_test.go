package hostile_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/testfleet"
)

const euOnly = "eu-only"

// europe makes an application of the project that may run in the EU only.
func europe(t *testing.T, f *testfleet.Fleet, name string, rule v1alpha1.ApplicationPlacement) {
	t.Helper()
	app := application(euOnly, name, "{apiVersion: v1, kind: ConfigMap, metadata: {name: "+name+"}}")
	app.Spec.Placement = &rule
	if err := f.Hub.Client().Create(t.Context(), app); err != nil {
		t.Fatal(err)
	}
}

// lands waits until the hub has decided, and compares.
func lands(t *testing.T, f *testfleet.Fleet, name string, want ...string) {
	t.Helper()
	f.App(euOnly, name).Eventually(fmt.Sprintf("is on %v", want), func(app *v1alpha1.Application) bool {
		return slices.Equal(app.Status.Clusters, want) && len(app.Status.Conditions) > 0
	})
}

// outside asserts that nothing of the project is, or was, in the US.
func outside(t *testing.T, f *testfleet.Fleet) {
	t.Helper()
	err := f.Member(inUS).Client().Get(t.Context(), client.ObjectKey{Name: euOnly}, &corev1.Namespace{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("namespace %s in %s: %v", euOnly, inUS, err)
	}
	r, err := f.Hub.Fleet().Report(t.Context(), inUS)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.States {
		if s.Key.Project == euOnly {
			t.Errorf("%s speaks of %s", inUS, s.Key)
		}
	}
}

func why(t *testing.T, f *testfleet.Fleet, name, cluster string, reason placement.Reason) {
	t.Helper()
	chain := cli(t, f, "", 0, "", "explain", "app/"+name, "-p", euOnly, "--placement")
	line := lineOf(chain.Stdout, cluster)
	if !slices.Contains(line, string(reason)) {
		t.Errorf("%s on %s: want %s, got %v", name, cluster, reason, line)
	}
}

// Residency is hard: no rule, name, Placement or label brings the project's
// work to a cluster outside.
func TestWorkForTheEUNeverLandsInTheUS(t *testing.T) {
	f := world(t)
	hub := f.Hub.Client()
	f.Project(euOnly, func(s *v1alpha1.ProjectSpec) {
		s.Residency = &v1alpha1.Residency{Jurisdictions: []string{"eu"}}
	})
	both := v1alpha1.PlacementRule{Clusters: "stage=production"}
	named := &v1alpha1.Placement{ObjectMeta: named("", "everywhere"), Spec: v1alpha1.PlacementRule{Where: "true", Names: []string{inEU, inUS}}}
	if err := hub.Create(t.Context(), named); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hub.Delete(context.Background(), named); err != nil {
			t.Error(err)
		}
	})
	rule := func(r v1alpha1.PlacementRule) v1alpha1.ApplicationPlacement {
		return v1alpha1.ApplicationPlacement{PlacementRule: r}
	}
	europe(t, f, "by-label", rule(both))
	europe(t, f, "by-name", rule(v1alpha1.PlacementRule{Names: []string{inUS}}))
	europe(t, f, "by-where", rule(v1alpha1.PlacementRule{Where: "cluster.jurisdiction == 'us'"}))
	europe(t, f, "by-ref", v1alpha1.ApplicationPlacement{Ref: named.Name})
	europe(t, f, "by-residency", rule(v1alpha1.PlacementRule{Clusters: "stage=production", Residency: &v1alpha1.Residency{Jurisdictions: []string{"us"}}}))
	europe(t, f, "by-both", rule(v1alpha1.PlacementRule{Clusters: "stage=production", Residency: &v1alpha1.Residency{Jurisdictions: []string{"eu", "us"}}}))
	asked := func() {
		t.Helper()
		lands(t, f, "by-label", inEU)
		lands(t, f, "by-name")
		lands(t, f, "by-where")
		lands(t, f, "by-ref", inEU)
		lands(t, f, "by-residency")
		lands(t, f, "by-both", inEU)
		outside(t, f)
	}
	asked()
	why(t, f, "by-name", inUS, placement.ResidencyViolation)
	why(t, f, "by-ref", inUS, placement.ResidencyViolation)

	t.Run("a cluster that is labelled as if it were", func(t *testing.T) {
		change(t, f, inUS, `{"metadata":{"labels":{"in":"eu","jurisdiction":"eu","atoll.dev/jurisdiction":"eu","topology.kubernetes.io/region":"eu-west-1"}}}`,
			`{"metadata":{"labels":{"in":"us","jurisdiction":null,"atoll.dev/jurisdiction":null,"topology.kubernetes.io/region":null}}}`)
		asked()
	})
	t.Run("a cluster that is declared to be what its nodes are not", func(t *testing.T) {
		change(t, f, inUS, `{"spec":{"jurisdiction":"eu","region":"eu-west-1"}}`, `{"spec":{"jurisdiction":"us","region":"us-east-1"}}`)
		eventually(t, "the declaration is judged", func(ctx context.Context) error {
			answer := f.Hub.CLI("explain", "app/by-name", "-p", euOnly, "--placement")
			if line := lineOf(answer.Stdout, inUS); !slices.Contains(line, string(placement.FactsMismatch)) {
				return fmt.Errorf("%v", line)
			}
			return nil
		})
		asked()
	})
	asked()
}

// change patches a cluster as an admin and takes it back when the test ends.
func change(t *testing.T, f *testfleet.Fleet, name, there, back string) {
	t.Helper()
	if err := f.Hub.Client().Patch(t.Context(), cluster(name), merge(there)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Hub.Client().Patch(context.Background(), cluster(name), merge(back)); err != nil {
			t.Error(err)
		}
	})
}
