// Package explain_test breaks a real fleet in a dozen ways and asks `atoll
// explain` what is wrong: it must name the first broken step, why, and a
// command that helps.
package explain_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/explain"
	"atoll.dev/atoll/internal/testfleet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testfleet.EndShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func world(t *testing.T) *testfleet.Fleet {
	t.Helper()
	return testfleet.Shared(t, testfleet.Options{Clusters: []testfleet.Cluster{
		testfleet.Named("a", "stage=production"), testfleet.Named("b", "stage=staging"),
	}})
}

// diagnosis is what must be said.
type diagnosis struct {
	stage   explain.Stage
	outcome explain.Outcome // "" is Broken
	cluster string
	why, do string
}

// explains waits until the chain's first trouble is the one expected, then
// reads the same from the command's text.
func explains(t *testing.T, f *testfleet.Fleet, app *testfleet.App, want diagnosis, flags ...string) {
	t.Helper()
	if want.outcome == "" {
		want.outcome = explain.Broken
	}
	args := append([]string{"explain", "app/" + app.Name, "-p", app.Project}, flags...)
	testfleet.Eventually(t, fmt.Sprintf("explain names %s", want.stage), func(context.Context) error {
		var c explain.Chain
		if err := json.Unmarshal([]byte(f.Hub.MustCLI(append(args, "-o", "json")...)), &c); err != nil {
			return err
		}
		l := c.First
		if l == nil || l.Stage != want.stage || l.Outcome != want.outcome || l.Cluster != want.cluster ||
			!strings.Contains(l.Why, want.why) || !strings.Contains(l.Do, want.do) {
			return fmt.Errorf("want %+v, got %+v", want, l)
		}
		return nil
	})
	r := f.Hub.CLI(args...)
	unwrapped := strings.Join(strings.Fields(r.Stdout), " ")
	if r.Code != 0 || r.Stderr != "" || !strings.Contains(unwrapped, fmt.Sprintf("is broken at %s", want.stage)) || !strings.Contains(unwrapped, want.do) {
		t.Errorf("want exit 0, the stage and %q, got %s", want.do, r)
	}
}

func object(kind, name, rest string) string {
	version := map[string]string{"Deployment": "apps/v1", "Widget": "example.com/v1", "ClusterRoleBinding": "rbac.authorization.k8s.io/v1"}[kind]
	if version == "" {
		version = "v1"
	}
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: %s}%s}\n", version, kind, name, rest)
}

func configMap(name, value string) string {
	return object("ConfigMap", name, ", data: {value: '"+value+"'}")
}

func deployment(name, image string) string {
	return object("Deployment", name, fmt.Sprintf(", spec: {replicas: 1, selector: {matchLabels: {app: %[1]s}}, template: {metadata: {labels: {app: %[1]s}}, spec: {containers: [{name: main, image: '%[2]s'}]}}}", name, image))
}

func stream(documents ...string) string { return strings.Join(documents, "---\n") }

const onA = "stage=production"

func TestExplainNamesTheBrokenLink(t *testing.T) {
	f := world(t)
	const project = "why"
	f.Project(project, func(s *v1alpha1.ProjectSpec) {
		two := int32(2)
		s.DeletionBudget = &two
	})
	a := f.Member("a")
	app := func(name string, change func(*v1alpha1.ApplicationSpec)) *testfleet.App {
		t.Helper()
		o := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name}}
		o.Spec.Placement = &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: onA}}
		change(&o.Spec)
		if err := f.Hub.Client().Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		return f.App(project, name)
	}

	t.Run("source: content that nobody uploaded", func(t *testing.T) {
		x := app("unknown-content", func(s *v1alpha1.ApplicationSpec) {
			s.Source.Content = &v1alpha1.ContentSource{Digest: "sha256:" + strings.Repeat("0", 64)}
		})
		explains(t, f, x, diagnosis{stage: explain.Source, why: "is not stored", do: "atoll deploy unknown-content"})
	})
	t.Run("source: an object that the project may not deliver", func(t *testing.T) {
		x := app("too-much", func(s *v1alpha1.ApplicationSpec) {
			s.Source.Inline = object("ClusterRoleBinding", "mine", ", roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}")
		})
		explains(t, f, x, diagnosis{stage: explain.Source, why: "ClusterRoleBinding", do: "kubectl edit projects.atoll.dev " + project})
	})
	t.Run("placement: nobody matches", func(t *testing.T) {
		x := f.Deploy(project, "nowhere", configMap("m", "v"), "--to", "stage=moon")
		explains(t, f, x, diagnosis{stage: explain.Placement, why: "stage=moon", do: "atoll explain app/nowhere --placement"})
	})
	t.Run("placement: no rule at all", func(t *testing.T) {
		x := f.Deploy(project, "homeless", configMap("m", "v"))
		explains(t, f, x, diagnosis{stage: explain.Placement, why: "not where", do: "atoll deploy homeless"})
	})
	t.Run("placement: another cluster was asked about", func(t *testing.T) {
		x := f.Deploy(project, "on-a", configMap("on-a", "v"), "--to", onA)
		x.Settles(1)
		explains(t, f, x, diagnosis{stage: explain.Placement, cluster: "b", why: "b was not chosen", do: "label"}, "-C", "b")
	})
	t.Run("apply: somebody else's object", func(t *testing.T) {
		ensureNamespace(t, a, project)
		theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: "theirs"}, Data: map[string]string{"value": "theirs"}}
		if err := a.Client().Create(t.Context(), theirs, client.FieldOwner("somebody")); err != nil {
			t.Fatal(err)
		}
		x := f.Deploy(project, "conflict", configMap("theirs", "ours"), "--to", onA)
		explains(t, f, x, diagnosis{stage: explain.Apply, cluster: "a", why: "somebody", do: "spec.adopt"})
	})
	t.Run("apply: two applications render one object", func(t *testing.T) {
		first := f.Deploy(project, "owner", configMap("shared", "v"), "--to", onA)
		first.Settles(1)
		x := f.Deploy(project, "claimant", configMap("shared", "v"), "--to", onA)
		explains(t, f, x, diagnosis{stage: explain.Apply, cluster: "a", why: "owner", do: "one of the two applications"})
	})
	t.Run("apply: a kind that is not there", func(t *testing.T) {
		x := f.Deploy(project, "kindless", object("Widget", "w", ""), "--to", onA)
		explains(t, f, x, diagnosis{stage: explain.Apply, cluster: "a", why: "NoKind", do: "CustomResourceDefinition"})
	})
	t.Run("apply: a manifest that the API refuses", func(t *testing.T) {
		x := f.Deploy(project, "invalid", strings.Replace(deployment("negative", "web:1"), "replicas: 1", "replicas: -1", 1), "--to", onA)
		explains(t, f, x, diagnosis{stage: explain.Apply, cluster: "a", why: "Invalid", do: "atoll deploy invalid"})
	})
	t.Run("apply: what the member forbids", func(t *testing.T) {
		limits := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "atoll-limits"}}
		set := func(data string) {
			t.Helper()
			if err := a.Client().Patch(context.Background(), limits, client.RawPatch("application/merge-patch+json", []byte(data))); err != nil {
				t.Fatal(err)
			}
		}
		set(`{"data":{"forbidKinds":"LimitRange"}}`)
		defer set(`{"data":null}`)
		x := f.Deploy(project, "forbidden", object("LimitRange", "l", ", spec: {limits: []}"), "--to", onA)
		explains(t, f, x, diagnosis{stage: explain.Apply, cluster: "a", why: "atoll-limits", do: "the cluster's own RBAC or limits"})
	})
	t.Run("apply: a deletion that is held", func(t *testing.T) {
		var many []string
		for i := range 5 {
			many = append(many, configMap(fmt.Sprintf("item-%d", i), "v"))
		}
		x := f.Deploy(project, "shrinking", stream(many...), "--to", onA)
		x.Settles(1)
		f.Deploy(project, "shrinking", many[0])
		explains(t, f, x, diagnosis{stage: explain.Apply, cluster: "a", why: "a deletion is held", do: "atoll allow-deletion app/shrinking"})
	})
	t.Run("apply: a change by others that is only reported", func(t *testing.T) {
		x := f.Deploy(project, "drifting", configMap("drifting", "ours"), "--to", onA, "--drift", "Report")
		x.Settles(1)
		changed := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: "drifting"}}
		if err := a.Client().Patch(t.Context(), changed, client.RawPatch("application/merge-patch+json", []byte(`{"data":{"value":"theirs"}}`)), client.FieldOwner("somebody")); err != nil {
			t.Fatal(err)
		}
		explains(t, f, x, diagnosis{stage: explain.Apply, cluster: "a", why: "somebody changed", do: "atoll diff app/drifting"})
	})
	t.Run("health: a container that crashes", func(t *testing.T) {
		x := f.Deploy(project, "crashing", deployment("crashing", "web:broken"), "--to", onA)
		explains(t, f, x, diagnosis{stage: explain.Health, cluster: "a", why: "crashing", do: "atoll tree app/crashing"})
	})
	t.Run("delivery: an agent that died", func(t *testing.T) {
		x := f.Deploy(project, "cut-off", configMap("cut-off", "v"), "--to", "stage=staging")
		x.Settles(1)
		b := f.Member("b")
		b.Agent.Kill()
		explains(t, f, x, diagnosis{stage: explain.Delivery, cluster: "b", why: "not connected", do: "kubectl -n atoll-system"})
		b.Agent.Start()
		x.Settles(1)
	})
	t.Run("and nothing where nothing is broken", func(t *testing.T) {
		f.App(project, "on-a").Settles(1)
		r := f.Hub.CLI("explain", "app/on-a", "-p", project)
		if r.Code != 0 || !strings.Contains(r.Stdout, "why/on-a is in sync and healthy on 1 cluster") {
			t.Error(r)
		}
		if r := f.Hub.CLI("explain", "app/on-b", "-p", project); r.Code != 2 || r.Stdout != "" {
			t.Error(r)
		}
	})
}

func ensureNamespace(t *testing.T, m *testfleet.Member, name string) {
	t.Helper()
	if err := m.Client().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
}
