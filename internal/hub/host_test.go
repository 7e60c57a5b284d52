package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox"
)

// TestAKubernetesClusterIsTheStore tells one story, since clusters take long to
// start: a hub leads, another stands by and succeeds it, and both end.
func TestAKubernetesClusterIsTheStore(t *testing.T) {
	kubeconfig := sandbox.Start(t, "host").Cluster("host").KubeconfigPath()
	shared := Options{Keys: t.TempDir(), Content: t.TempDir(), Host: &apiserver.HostCluster{Kubeconfig: kubeconfig, Namespace: "fleet-hub"}}
	with := func(change func(*Options)) Options {
		o := shared
		o.DataDir = t.TempDir()
		if change != nil {
			change(&o)
		}
		return o
	}
	first := begin(t, with(nil))
	b := &bench{T: t, world: first.leads(t)}

	o, err := b.fleet.Overview(t.Context())
	b.must(err)
	if o.Hub.Storage != "kubernetes" || o.Hub.Namespace != "fleet-hub" || o.Hub.Term != 1 {
		t.Errorf("the hub is %+v", o.Hub)
	}
	if err := b.client.Get(t.Context(), client.ObjectKey{Name: v1alpha1.SystemNamespace}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
		t.Errorf("the agent's namespace, in a cluster that is no member: %v", err)
	}
	b.project("shop")
	member := b.joined("member", map[string]string{"at": "host"})
	b.must(b.client.Get(t.Context(), client.ObjectKey{Namespace: "fleet-hub", Name: "join.member"}, &corev1.Secret{}))
	b.certified("member")
	b.refusesWhatAnEmbeddedOneRefuses()
	b.deletesWhatWasJustTurnedToDelete(member)

	for what, c := range map[string]struct {
		change func(*Options)
		says   string
	}{
		"in another namespace": {func(o *Options) { o.Host = &apiserver.HostCluster{Kubeconfig: kubeconfig, Namespace: "other"} }, "has a hub already, in namespace fleet-hub"},
		"with other keys":      {func(o *Options) { o.Keys = t.TempDir() }, "begun by a hub with other keys"},
	} {
		o := with(c.change)
		r := begin(t, o)
		err := <-r.ended
		r.ended <- nil
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("a hub %s: %v", what, err)
		}
	}

	// An address of its own, since the port of a standby is told to nobody.
	at := fmt.Sprintf("127.78.%d.%d:7443", rand.IntN(256), 1+rand.IntN(254))
	second := begin(t, with(func(o *Options) { o.Listen = at }))
	b.throughAStandby(at)
	first.stop()
	err = <-first.ended
	first.ended <- nil
	b.must(err)
	b = &bench{T: t, world: second.leads(t)}
	if o, err = b.fleet.Overview(t.Context()); err != nil || o.Hub.Term != 2 {
		t.Errorf("the second hub is %+v, %v", o.Hub, err)
	}
	b.project("after")
	second.stop()
	err = <-second.ended
	second.ended <- nil
	b.must(err)
	b.withoutAHub()

	b.addField("projects.atoll.dev", "future")
	third := begin(t, with(nil))
	err = <-third.ended
	third.ended <- nil
	if err == nil || !strings.Contains(err.Error(), "field .spec.future, which this version does not know") {
		t.Errorf("a hub older than the definitions: %v", err)
	}
}

// refusesWhatAnEmbeddedOneRefuses has the webhook judge, by fields and by rights.
func (b *bench) refusesWhatAnEmbeddedOneRefuses() {
	b.Helper()
	for name, says := range map[string]string{
		"fleet-hub":   "namespace fleet-hub is where the hub keeps its own",
		"kube-system": "metadata.name",
		"default":     "metadata.name",
	} {
		err := b.client.Create(b.Context(), &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says) {
			b.Errorf("project %s: %v", name, err)
		}
	}
	b.create(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "editor"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"atoll.dev"}, Resources: []string{"projects"}, Verbs: []string{"get", "update", "patch"},
	}}})
	b.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "editor"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "editor"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "dana"}},
	})
	config := rest.CopyConfig(b.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "dana"}
	dana, err := client.New(config, client.Options{Scheme: b.client.Scheme()})
	b.must(err)
	change := func(spec string) error {
		return dana.Patch(b.Context(), &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, client.RawPatch(types.MergePatchType, []byte(spec)))
	}
	b.eventually("dana may edit projects", func() error { return change(`{"spec":{"deletionBudget":3}}`) })
	if err := change(`{"spec":{"privileged":true}}`); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `needs the verb "escalate"`) {
		b.Errorf("a privilege that dana lacks: %v", err)
	}
	b.refused("Secrets of a cluster that others use", b.client.Create(b.Context(), given("shop", "secrets", v1alpha1.RoleSecrets, "dana")), "spec.role")
	viewer := given("shop", "viewer", v1alpha1.RoleViewer, "dana")
	b.create(viewer)
	b.holds(viewer, "Granted", "in project shop")
	b.must(b.client.Delete(b.Context(), viewer))
	// Neither may she read what the fleet API tells.
	unasked, err := fleet.NewClient(config)
	b.must(err)
	if _, err := unasked.Overview(b.Context()); !apierrors.IsForbidden(err) {
		b.Errorf("the fleet API without a right: %v", err)
	}
}

// deletesWhatWasJustTurnedToDelete has an application take its objects with it that
// is deleted before the hub can have taken note that it shall.
func (b *bench) deletesWhatWasJustTurnedToDelete(m *member) {
	b.Helper()
	key := desired.Key{Project: "shop", Application: "late"}
	b.deploy("shop", "late", "at=host", v1alpha1.Orphan)
	m.until("the application is there", func(r desired.Root) bool { _, ok := r.Get(key); return ok })
	app := b.app("shop", "late")
	b.must(b.client.Patch(b.Context(), app, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"onDelete":"Delete"}}`))))
	if !slices.Contains(app.Finalizers, v1alpha1.FinalizerWithdraw) {
		b.Errorf("the write that says onDelete: Delete leaves the finalizers %q", app.Finalizers)
	}
	b.must(b.client.Delete(b.Context(), app))
	m.until("its objects are to go", func(r desired.Root) bool {
		e, ok := r.Get(key)
		if !ok {
			b.Fatal("the member was told to leave them")
		}
		return e.Withdrawn && e.Policy.OnDelete == v1alpha1.Delete
	})
	m.reports(key, report.Withdrawn, report.HealthUnknown)
	b.eventually("the application goes", func() error {
		if err := b.client.Get(b.Context(), client.ObjectKeyFromObject(app), app); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %w", err)
		}
		return nil
	})
}

// throughAStandby calls a standby's own port, as nothing does once the host knows
// who leads.
func (b *bench) throughAStandby(address string) {
	b.Helper()
	config := rest.CopyConfig(b.config)
	config.Host, config.TLSClientConfig.Insecure = "https://"+address, true
	config.TLSClientConfig.CAData, config.TLSClientConfig.CAFile = nil, ""
	f, err := fleet.NewClient(config)
	b.must(err)
	b.eventually("a standby passes calls on", func() error {
		o, err := f.Overview(b.Context())
		if err == nil && o.Hub.Term != 1 {
			err = fmt.Errorf("it is term %d", o.Hub.Term)
		}
		return err
	})
	config.Impersonate = rest.ImpersonationConfig{UserName: "dana"}
	dana, err := fleet.NewClient(config)
	b.must(err)
	if _, err := dana.Overview(b.Context()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `"dana"`) {
		b.Errorf("without a right: %v", err)
	}
}

// withoutAHub writes are refused when a hub would judge them; what clears a hub
// away is not.
func (b *bench) withoutAHub() {
	b.Helper()
	shop := func(patch string) error {
		return b.client.Patch(b.Context(), &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, client.RawPatch(types.MergePatchType, []byte(patch)))
	}
	if err := shop(`{"spec":{"deletionBudget":9}}`); err == nil || !strings.Contains(err.Error(), "hub.atoll.dev") {
		b.Errorf("a change that nobody judged: %v", err)
	}
	b.must(shop(`{"metadata":{"labels":{"kept":"yes"},"finalizers":null}}`))
	b.must(b.client.Delete(b.Context(), &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}))
	b.eventually("the project goes", func() error {
		err := b.client.Get(b.Context(), client.ObjectKey{Name: "shop"}, &v1alpha1.Project{})
		return client.IgnoreNotFound(err)
	})
	if _, err := b.fleet.Overview(b.Context()); err == nil {
		b.Error("the fleet API answers without a hub")
	}
}

// addField changes a definition as a newer hub would.
func (b *bench) addField(name, field string) {
	b.Helper()
	definitions, err := clientset.NewForConfig(b.config)
	b.must(err)
	crds := definitions.ApiextensionsV1().CustomResourceDefinitions()
	// Its status is written by others.
	b.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		crd, err := crds.Get(b.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		schema := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		spec := schema.Properties["spec"]
		spec.Properties[field] = apiextensionsv1.JSONSchemaProps{Type: "string"}
		schema.Properties["spec"] = spec
		_, err = crds.Update(context.Background(), crd, metav1.UpdateOptions{})
		return err
	}))
}

func TestFlagsOfAHostClusterAreCheckedTogether(t *testing.T) {
	for args, says := range map[string]string{
		"--namespace x":                              "--namespace is for an existing cluster",
		"--kubeconfig k --in-cluster":                "give one",
		"--in-cluster":                               "needs --content, which all its replicas share, and --keys",
		"--in-cluster --keys d":                      "needs --content",
		"--kubeconfig nowhere FULL":                  "--kubeconfig: stat nowhere",
		"--in-cluster FULL --namespace A":            `--namespace "A"`,
		"--in-cluster FULL --namespace kube-system":  "belongs to the cluster",
		"--in-cluster FULL --namespace atoll-system": "belongs to the cluster or to an agent in it",
		"--in-cluster FULL --etcd-servers http://e":  "exclude each other",
	} {
		cmd := Command()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetErr(io.Discard)
		args = strings.ReplaceAll(args, "FULL", "--keys "+t.TempDir()+" --content "+t.TempDir())
		cmd.SetArgs(append(strings.Fields(args), "--data-dir", t.TempDir()))
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("atoll hub %s: %v; wanted %q", args, err, says)
		}
	}
}

func TestSecretsAreSealedBeforeTheyLeaveTheHub(t *testing.T) {
	b := hubOf(t)
	dir := t.TempDir()
	_, err := openKeys(dir)
	b.must(err)
	s := &start{Options: Options{Keys: dir}, host: &apiserver.Host{}, live: b.client}
	sealed, err := s.values()
	b.must(err)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sealed"}, Data: map[string][]byte{"password": []byte("a value")}}
	b.must(sealed.Create(t.Context(), secret))
	if string(secret.Data["password"]) != "a value" {
		t.Error("the caller's object was changed")
	}
	stored, opened := &corev1.Secret{}, &corev1.Secret{}
	b.must(b.client.Get(t.Context(), client.ObjectKeyFromObject(secret), stored))
	if data, _ := json.Marshal(stored); strings.Contains(string(stored.Data["password"]), "a value") || len(data) == 0 {
		t.Errorf("it is stored as %s", data)
	}
	b.must(sealed.Get(t.Context(), client.ObjectKeyFromObject(secret), opened))
	if string(opened.Data["password"]) != "a value" {
		t.Errorf("it is read as %q", opened.Data["password"])
	}
	other := &start{Options: Options{Keys: t.TempDir()}, host: &apiserver.Host{}, live: b.client}
	_, err = openKeys(other.Keys)
	b.must(err)
	stranger, err := other.values()
	b.must(err)
	if err := stranger.Get(t.Context(), client.ObjectKeyFromObject(secret), opened); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("with other keys: %v", err)
	}
}
