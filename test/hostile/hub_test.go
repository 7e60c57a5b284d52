package hostile_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/testfleet"
)

// The hub's refusal, where developers meet it first: an upload that holds a
// forbidden object is not stored, whatever stands beside it.
func TestTheHubRefusesHostileUploads(t *testing.T) {
	f := world(t)
	const pirates = "up-pirates"
	f.Project(pirates)
	wrapped := func(manifest string) string { return "{apiVersion: v1, kind: List, items: [" + manifest + "]}" }
	twice := func(manifest string) string { return wrapped(wrapped(manifest)) }
	for _, a := range attempts {
		a = a.by(pirates)
		t.Run(a.name, func(t *testing.T) {
			for how, manifest := range map[string]string{
				"alone": a.manifest, "beside others": harmless + "\n---\n" + a.manifest,
				"in a List": wrapped(a.manifest), "in a List in a List": twice(a.manifest),
			} {
				reason := a.reason
				if hubs := parse(t, a.manifest).GroupVersionKind().Group == v1alpha1.GroupVersion.Group; hubs && how != "beside others" {
					reason = "FleetsKind" // it may be meant for the hub itself
				}
				r := cli(t, f, manifest, 2, reason, "deploy", "ship", "-p", pirates, "-f", "-", "--to", "stage=production")
				if r.Stdout != "" {
					t.Errorf("%s: %s", how, r)
				}
			}
			for _, m := range []string{inEU, inUS} {
				absent(t, f.Member(m).Client(), parse(t, a.manifest))
			}
		})
	}
	if _, err := f.Hub.Fleet().ApplicationClusters(t.Context(), pirates, "ship"); err == nil {
		t.Error("a refused deploy made the application")
	}
}

// The same objects written into the Application itself, past the upload.
func TestTheHubRefusesHostileInlineManifests(t *testing.T) {
	f := world(t)
	const pirates = "in-pirates"
	f.Project(pirates)
	for i, a := range attempts {
		a = a.by(pirates)
		name := fmt.Sprintf("inline-%d", i)
		app := application(pirates, name, a.manifest)
		if err := f.Hub.Client().Create(t.Context(), app); err != nil {
			t.Errorf("%s: the hub takes what it then refuses with a reason: %v", a.name, err)
			continue
		}
		policyRefused(t, f, pirates, name, a.name)
	}
	for _, a := range attempts {
		a = a.by(pirates)
		absent(t, f.Member(inEU).Client(), parse(t, a.manifest))
	}
	t.Run("a Secret's value", func(t *testing.T) {
		err := f.Hub.Client().Create(t.Context(), application(pirates, "secret", "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {p: canary-in-clear}}"))
		if err == nil || !strings.Contains(err.Error(), "spec.source.inline") || strings.Contains(err.Error(), "canary-in-clear") {
			t.Errorf("want a refusal that names the field and hides the value, got %v", err)
		}
	})
}

func application(project, name, inline string) *v1alpha1.Application {
	return &v1alpha1.Application{ObjectMeta: named(project, name), Spec: v1alpha1.ApplicationSpec{
		Source:    v1alpha1.Source{Inline: inline},
		Placement: &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: "stage=production"}},
	}}
}

// policyRefused waits for the hub's verdict and sees that no cluster was asked.
func policyRefused(t *testing.T, f *testfleet.Fleet, project, app, what string) string {
	t.Helper()
	return notAccepted(t, f, project, app, what, "PolicyRefused")
}

func notAccepted(t *testing.T, f *testfleet.Fleet, project, app, what, reason string) string {
	t.Helper()
	found := &v1alpha1.Application{}
	eventually(t, what+" is judged", func(ctx context.Context) error {
		if err := f.Hub.Client().Get(ctx, client.ObjectKey{Namespace: project, Name: app}, found); err != nil {
			return err
		}
		if c := meta.FindStatusCondition(found.Status.Conditions, v1alpha1.ConditionAccepted); c == nil || c.ObservedGeneration < found.Generation {
			return errNotYet
		}
		return nil
	})
	c := meta.FindStatusCondition(found.Status.Conditions, v1alpha1.ConditionAccepted)
	if c.Reason != reason {
		t.Errorf("%s: Accepted is %s, %s: %s; want %s", what, c.Status, c.Reason, c.Message, reason)
	}
	answer, err := f.Hub.Fleet().ApplicationClusters(t.Context(), project, app)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range answer.Clusters {
		if s.State.Applied > 0 {
			t.Errorf("%s: delivered to %s: %+v", what, s.Cluster, s.State)
		}
	}
	return c.Message
}

// What late binding makes of an object is judged, not what it was made from.
func TestTheHubRefusesWhatLateBindingMakes(t *testing.T) {
	f := world(t)
	const pirates = "late-pirates"
	f.Project(pirates)
	for _, tc := range []struct{ name, manifest, says string }{
		{"a namespace", `{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: "${atoll:var.x}"}}`, "amespace"},
		{"a name", `{apiVersion: v1, kind: ConfigMap, metadata: {name: "${atoll:var.x}"}}`, ""},
		{"a kind", `{apiVersion: v1, kind: "${atoll:var.x}", metadata: {name: m}}`, ""},
		{"a group", `{apiVersion: "${atoll:var.x}/v1", kind: ClusterRole, metadata: {name: m}}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := []string{"deploy", "late", "-p", pirates, "-f", "-", "--to", "stage=production", "--late-binding", "--var", "x=kube-system"}
			r := f.Hub.CLIWith(tc.manifest, args...)
			if r.Code == 0 {
				// Uploaded as it stands: it is refused when it is bound.
				notAccepted(t, f, pirates, "late", tc.name, "PolicyRefused")
			} else if r.Code != 2 || !strings.Contains(r.Stderr, tc.says) {
				t.Error(r)
			}
		})
	}
	t.Run("a Secret's type", func(t *testing.T) {
		manifest := `{apiVersion: v1, kind: Secret, type: "kubernetes.io/${atoll:var.x}", metadata: {name: late-token, annotations: {kubernetes.io/service-account.name: default}}}`
		f.Deploy(pirates, "late-token", manifest, "--to", "stage=production", "--late-binding", "--var", "x=service-account-token")
		if message := policyRefused(t, f, pirates, "late-token", "a late-bound Secret's type"); !strings.Contains(message, "credential") {
			t.Errorf("the refusal says %q", message)
		}
		absent(t, f.Member(inEU).Client(), parse(t, `{apiVersion: v1, kind: Secret, metadata: {name: late-token, namespace: late-pirates}}`))
	})
}

// Content belongs to the project that uploaded it: to know a digest is no right.
func TestTheHubRefusesAnotherProjectsContent(t *testing.T) {
	f := world(t)
	const pirates = "loot-pirates"
	f.Project(pirates)
	f.Project("bank")
	receipt, err := f.Hub.Fleet().Upload(t.Context(), "bank", fleet.Upload{Files: []fleet.File{{Name: "vault.yaml",
		Data: []byte("{apiVersion: v1, kind: Secret, metadata: {name: vault}, stringData: {gold: canary-of-the-bank}}")}}})
	if err != nil || receipt.Digest == "" {
		t.Fatal(receipt, err)
	}
	app := application(pirates, "loot", "")
	app.Spec.Source = v1alpha1.Source{Content: &v1alpha1.ContentSource{Digest: receipt.Digest}}
	if err := f.Hub.Client().Create(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	message := notAccepted(t, f, pirates, "loot", "another project's digest", "SourceRefused")
	if !strings.Contains(message, "not stored in project "+pirates) {
		t.Errorf("the refusal says %q", message)
	}
}
