package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// argoSets are one for each cluster that a selector matches, one for each of a
// list, and one for each folder of a repository on each cluster.
var argoSets = []struct {
	name, generators, app, path, cluster string
	language                             bool // Go's templates
}{
	{"web", `[{clusters: {selector: {matchLabels: {stage: production}}}}]`, "{{.name}}-web", "deploy", "{{.name}}", true},
	{"batch", `[{list: {elements: [{cluster: a, size: small}, {cluster: b, size: large}]}}]`, "batch-{{.size}}", "batch/{{.size}}", "{{.cluster}}", true},
	{"addons", `[{matrix: {generators: [{git: {repoURL: "THERE", revision: main, directories: [{path: addons/*}, {path: addons/old, exclude: true}]}}, {clusters: {}}]}}]`,
		"{{path.basename}}-{{name}}", "{{path}}", "{{name}}", false},
}

const argoSet = `
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: NAME, namespace: argocd}
spec:
  goTemplate: LANGUAGE
  generators: GENERATORS
  template:
    metadata: {name: 'APP', finalizers: [resources-finalizer.argocd.argoproj.io]}
    spec:
      project: takeover
      source: {repoURL: "THERE", targetRevision: main, path: 'FOLDER'}
      destination: {name: 'CLUSTER', namespace: takeover}
      syncPolicy: {automated: {prune: true, selfHeal: true}}
`

// argoMade are the Applications that Argo CD makes of them: what each delivers to
// which cluster, from which folder.
var argoMade = []struct{ set, app, path, cluster, deployment string }{
	{"web", "a-web", "deploy", "a", "web"}, {"web", "b-web", "deploy", "b", "web"},
	{"batch", "batch-small", "batch/small", "a", "batch"}, {"batch", "batch-large", "batch/large", "b", "batch"},
	{"addons", "dns-a", "addons/dns", "a", "dns"}, {"addons", "dns-b", "addons/dns", "b", "dns"},
	{"addons", "logs-a", "addons/logs", "a", "logs"}, {"addons", "logs-b", "addons/logs", "b", "logs"},
}

// argoRepository is what they deliver; each cluster runs five pods of it.
var argoRepository = map[string]string{
	"deploy/web.yaml":       deployment("web", "shop/web:1.0", 2),
	"deploy/settings.yaml":  configMap("settings", "blue"),
	"batch/small/job.yaml":  deployment("batch", "shop/batch:small", 1),
	"batch/large/job.yaml":  deployment("batch", "shop/batch:large", 1),
	"addons/dns/dns.yaml":   deployment("dns", "shop/dns:1", 1),
	"addons/logs/logs.yaml": deployment("logs", "shop/logs:1", 1),
	"addons/old/old.yaml":   deployment("old", "shop/old:1", 1),
}

const argoPods = 5

// argoWorld is a real API of Argo CD's and two members that it delivered to, of
// which one is its home.
type argoWorld struct {
	t    *testing.T
	f    *testfleet.Fleet
	home *testfleet.Member
	url  string
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

// pods are the UIDs of a member's, once there are all.
func (w argoWorld) pods(m *testfleet.Member) string {
	w.t.Helper()
	var uids []string
	eventually(w.t, "the pods on "+m.Name, func(ctx context.Context) error {
		list := &corev1.PodList{}
		err := m.Client().List(ctx, list, client.InNamespace("takeover"))
		uids = nil
		for _, p := range list.Items {
			uids = append(uids, string(p.UID))
		}
		if err == nil && len(uids) != argoPods {
			err = fmt.Errorf("there are %d", len(uids))
		}
		return err
	})
	return strings.Join(uids, " ")
}

func TestThreeApplicationSetsAreExportedImportedAndTakenOverWithTheSamePods(t *testing.T) {
	f := fleet(t)
	server, err := gitserver.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	repo, err := server.Create("shop", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Commit("the shop", argoRepository); err != nil {
		t.Fatal(err)
	}
	w := argoWorld{t: t, f: f, home: f.Member("a"), url: server.URL("shop")}
	before := w.delivered()
	w.argo()

	// What kubectl exports, and nothing else, is imported and applied.
	r := f.Hub.CLI("import", "argocd", "-f", w.export(), "--repo", w.url+"="+repo.Dir(), "--owner", "tests")
	if r.Code != 0 || !has(r.Stdout, "clusters: stage=production", "name: web", "name: batch-small", "name: batch-large", "name: dns", "name: logs", "path: addons/dns") || has(r.Stdout, "addons/old") || has(r.Stdout+r.Stderr, "hunter2") {
		t.Fatalf("import: %s", r)
	}
	f.Project("takeover")
	if err := f.Hub.Client().Create(t.Context(), &corev1.Secret{ObjectMeta: named("takeover", "repo"), Data: map[string][]byte{"ca.crt": server.CA()}}); err != nil {
		t.Fatal(err)
	}
	if r := f.Hub.CLIWith(r.Stdout, "apply", "-f", "-"); r.Code != 0 {
		t.Fatalf("apply: %s", r)
	}

	// All wait: each names its Application of Argo CD's, and nothing is touched.
	ours := map[string]string{"web": "a b", "batch-small": "a", "batch-large": "b", "dns": "a b", "logs": "a b"}
	for name, on := range ours {
		for _, cluster := range strings.Fields(on) {
			f.App("takeover", name).On(cluster, "names Argo CD", func(s fleetapi.ClusterState) bool {
				p, ok := problem(s.State, "OwnedBy")
				return ok && strings.Contains(p.Message, "Argo CD application ")
			})
		}
	}

	if r := f.Hub.CLI("takeover", "argocd", "--app", "a-web", "-C", "a", "-p", "takeover", "--yes"); r.Code != 2 || !has(r.Stderr, "--applicationset web") {
		t.Errorf("one Application of a set: %s", r)
	}
	for _, set := range argoSets {
		r = f.Hub.CLI("takeover", "argocd", "--applicationset", set.name, "-C", "a", "-p", "takeover", "--yes")
		if r.Code != 0 || !has(r.Stderr, "All 10 pods are the same as before.") {
			t.Fatalf("takeover of %s: %s", set.name, r)
		}
	}
	for name, on := range ours {
		f.App("takeover", name).Settles(int32(len(strings.Fields(on))))
	}
	for name, was := range before {
		if after := w.pods(f.Member(name)); after != was {
			t.Errorf("the pods of %s were %s and are %s", name, was, after)
		}
	}
	w.gone()
}

// delivered has both members run what Argo CD delivered, and the caller be
// somebody there; it returns their pods.
func (w argoWorld) delivered() map[string]string {
	w.t.Helper()
	for _, name := range []string{"a", "b"} {
		m := w.f.Member(name)
		w.create(m, "{apiVersion: v1, kind: Namespace, metadata: {name: takeover}}")
		w.create(m, "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: takeover}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: 'atoll:atoll-admin'}]}")
	}
	for _, made := range argoMade {
		for path, text := range argoRepository {
			if strings.HasPrefix(path, made.path+"/") {
				w.deliver(w.f.Member(made.cluster), text, made.app)
			}
		}
	}
	return map[string]string{"a": w.pods(w.f.Member("a")), "b": w.pods(w.f.Member("b"))}
}

// argo are Argo CD's own objects: its project, repository and clusters, the
// ApplicationSets, and what it made of them.
func (w argoWorld) argo() {
	w.t.Helper()
	w.create(w.home, "{apiVersion: v1, kind: Namespace, metadata: {name: argocd}}")
	for kind, plural := range map[string]string{"Application": "applications", "ApplicationSet": "applicationsets", "AppProject": "appprojects"} {
		w.create(w.home, strings.NewReplacer("KIND", kind, "PLURAL", plural).Replace(argoDefinitions))
	}
	w.create(w.home, "{apiVersion: argoproj.io/v1alpha1, kind: AppProject, metadata: {name: takeover, namespace: argocd}, spec: {sourceRepos: ['*'], destinations: [{namespace: takeover, server: '*'}]}}")
	w.create(w.home, fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: repo, namespace: argocd, labels: {argocd.argoproj.io/secret-type: repository}}, stringData: {url: %q}}", w.url))
	for _, name := range []string{"a", "b"} {
		w.create(w.home, fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: cluster-%[1]s, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster, stage: production}}, stringData: {name: %[1]s, server: 'https://%[1]s.example.com', config: '{\"bearerToken\":\"hunter2\"}'}}", name))
	}
	uids := map[string]string{}
	for _, s := range argoSets {
		text := strings.NewReplacer("NAME", s.name, "LANGUAGE", fmt.Sprint(s.language), "GENERATORS", strings.ReplaceAll(s.generators, "THERE", w.url),
			"APP", s.app, "FOLDER", s.path, "CLUSTER", s.cluster, "THERE", w.url).Replace(argoSet)
		uids[s.name] = string(w.create(w.home, text).GetUID())
	}
	for _, made := range argoMade {
		w.create(w.home, fmt.Sprintf(`{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: %s, namespace: argocd, finalizers: [resources-finalizer.argocd.argoproj.io],
 ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: %s, uid: %q, controller: true, blockOwnerDeletion: true}]},
 spec: {project: takeover, source: {repoURL: %q, targetRevision: main, path: %s}, destination: {name: %s, namespace: takeover}, syncPolicy: {automated: {prune: true, selfHeal: true}}}}`,
			made.app, made.set, uids[made.set], w.url, made.path, made.cluster))
	}
}

// export is a folder with what the documents say to export, by kubectl.
func (w argoWorld) export() string {
	w.t.Helper()
	dir := w.t.TempDir()
	for file, args := range map[string][]string{
		"argocd.yaml":   {"appprojects,applicationsets,applications", "-n", "argocd"},
		"clusters.yaml": {"secrets", "-n", "argocd", "-l", "argocd.argoproj.io/secret-type"},
	} {
		text := w.f.Hub.MustCLI(append([]string{"kubectl", "-C", "a", "--", "get", "-o", "yaml"}, args...)...)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

// gone holds that neither ApplicationSets nor their Applications are left.
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
