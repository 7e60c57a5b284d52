package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/sandbox/gitserver"
	"atoll.dev/atoll/internal/testfleet"
)

// argoDefinitions are as much of Argo CD's API as its objects need; nothing runs
// behind it, as when its controllers are stopped.
const argoDefinitions = `
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: PLURAL.argoproj.io}, spec: {group: argoproj.io, scope: Namespaced,
 names: {kind: KIND, plural: PLURAL}, versions: [{name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`

const argoSet = `
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: takeover, namespace: argocd}
spec:
  goTemplate: true
  generators: [{clusters: {selector: {matchLabels: {stage: production}}}}]
  template:
    metadata: {name: '{{.name}}-shop', finalizers: [resources-finalizer.argocd.argoproj.io]}
    spec:
      project: takeover
      source: {repoURL: "THERE", targetRevision: main, path: deploy}
      destination: {name: '{{.name}}', namespace: takeover}
      syncPolicy: {automated: {prune: true, selfHeal: true}}
`

// a real API of Argo CD's, two members that it delivered to, and a repository.
type argoWorld struct {
	t    *testing.T
	f    *testfleet.Fleet
	home *testfleet.Member
}

func (w argoWorld) create(m *testfleet.Member, text string) *unstructured.Unstructured {
	w.t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, "make "+u.GetKind()+" "+u.GetName(), func(ctx context.Context) error {
		err := m.Client().Create(ctx, u)
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	w.t.Cleanup(func() { _ = m.Client().Delete(context.Background(), u) })
	return u
}

// deliver is what Argo CD's controller does: apply, with its mark.
func (w argoWorld) deliver(m *testfleet.Member, text, app string) {
	w.t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		w.t.Fatal(err)
	}
	u.SetNamespace("takeover")
	u.SetAnnotations(map[string]string{"argocd.argoproj.io/tracking-id": app + ":/" + u.GetKind() + ":takeover/" + u.GetName()})
	if err := m.Client().Apply(w.t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("argocd-controller"), client.ForceOwnership); err != nil {
		w.t.Fatal(err)
	}
}

// pods are the UIDs of a member's, once there are two.
func (w argoWorld) pods(m *testfleet.Member) string {
	w.t.Helper()
	var uids []string
	eventually(w.t, "two pods on "+m.Name, func(ctx context.Context) error {
		list := &corev1.PodList{}
		err := m.Client().List(ctx, list, client.InNamespace("takeover"))
		uids = nil
		for _, p := range list.Items {
			uids = append(uids, string(p.UID))
		}
		if err == nil && len(uids) != 2 {
			err = fmt.Errorf("there are %d", len(uids))
		}
		return err
	})
	return strings.Join(uids, " ")
}

func TestWhatArgoCDRunsIsTakenOverWithTheSamePods(t *testing.T) {
	f := fleet(t)
	w := argoWorld{t: t, f: f, home: f.Member("a")}
	server, err := gitserver.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	repo, err := server.Create("shop", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	web, settings := deployment("web", "shop/web:1.0", 2), configMap("settings", "blue")
	if _, err := repo.Commit("the shop", map[string]string{"deploy/web.yaml": web, "deploy/settings.yaml": settings}); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for _, name := range []string{"a", "b"} {
		m := f.Member(name)
		w.create(m, "{apiVersion: v1, kind: Namespace, metadata: {name: takeover}}")
		w.create(m, "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: takeover}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: 'atoll:atoll-admin'}]}")
		w.deliver(m, web, name+"-shop")
		w.deliver(m, settings, name+"-shop")
		before[name] = w.pods(m)
	}
	set := w.argo(server.URL("shop"))

	// Imported and applied, it waits: both name Argo CD, and nothing is touched.
	export, err := yaml.Marshal(set.Object)
	if err != nil {
		t.Fatal(err)
	}
	r := f.Hub.CLIWith(string(export)+"---\n{apiVersion: v1, kind: Secret, metadata: {name: repo, namespace: argocd, labels: {argocd.argoproj.io/secret-type: repository}}, stringData: {url: '"+server.URL("shop")+"'}}\n", "import", "argocd", "-f", "-")
	if r.Code != 0 || !has(r.Stdout, "clusters: stage=production", "name: shop") {
		t.Fatalf("import: %s", r)
	}
	f.Project("takeover")
	if err := f.Hub.Client().Create(t.Context(), &corev1.Secret{ObjectMeta: named("takeover", "repo"), Data: map[string][]byte{"ca.crt": server.CA()}}); err != nil {
		t.Fatal(err)
	}
	if r := f.Hub.CLIWith(r.Stdout, "apply", "-f", "-"); r.Code != 0 {
		t.Fatalf("apply: %s", r)
	}
	app := f.App("takeover", "shop")
	for _, name := range []string{"a", "b"} {
		app.On(name, "names Argo CD", func(s fleetapi.ClusterState) bool {
			p, ok := problem(s.State, "OwnedBy")
			return ok && strings.Contains(p.Message, "Argo CD application "+name+"-shop")
		})
	}

	if r := f.Hub.CLI("takeover", "argocd", "--app", "a-shop", "-C", "a", "-p", "takeover", "--yes"); r.Code != 2 || !has(r.Stderr, "--applicationset takeover") {
		t.Errorf("one Application of a set: %s", r)
	}
	r = f.Hub.CLI("takeover", "argocd", "--applicationset", "takeover", "-C", "a", "-p", "takeover", "--yes")
	if r.Code != 0 || !has(r.Stderr, "All 4 pods are the same as before.") {
		t.Fatalf("takeover: %s", r)
	}
	app.Settles(2)
	for _, name := range []string{"a", "b"} {
		if after := w.pods(f.Member(name)); after != before[name] {
			t.Errorf("the pods of %s were %s and are %s", name, before[name], after)
		}
	}
	w.gone()
}

// argo is the ApplicationSet with what Argo CD made of it.
func (w argoWorld) argo(url string) *unstructured.Unstructured {
	w.t.Helper()
	w.create(w.home, "{apiVersion: v1, kind: Namespace, metadata: {name: argocd}}")
	for kind, plural := range map[string]string{"Application": "applications", "ApplicationSet": "applicationsets"} {
		w.create(w.home, strings.NewReplacer("KIND", kind, "PLURAL", plural).Replace(argoDefinitions))
	}
	set := w.create(w.home, strings.ReplaceAll(argoSet, "THERE", url))
	for _, name := range []string{"a", "b"} {
		w.create(w.home, fmt.Sprintf(`{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: %s-shop, namespace: argocd, finalizers: [resources-finalizer.argocd.argoproj.io],
 ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: takeover, uid: %q, controller: true, blockOwnerDeletion: true}]},
 spec: {project: takeover, source: {repoURL: %q, targetRevision: main, path: deploy}, destination: {name: %s, namespace: takeover}, syncPolicy: {automated: {prune: true, selfHeal: true}}}}`, name, set.GetUID(), url, name))
	}
	return set
}

// gone holds that neither the ApplicationSet nor its Applications are left.
func (w argoWorld) gone() {
	w.t.Helper()
	for _, kind := range []string{"ApplicationSet", "Application"} {
		eventually(w.t, "no "+kind+" is left", func(ctx context.Context) error {
			list := &unstructured.UnstructuredList{}
			list.SetAPIVersion("argoproj.io/v1alpha1")
			list.SetKind(kind + "List")
			err := w.home.Client().List(ctx, list, client.InNamespace("argocd"))
			if err == nil && len(list.Items) > 0 {
				err = errors.New(list.Items[0].GetName() + " is still there")
			}
			return err
		})
	}
}
