package hostile_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/testfleet"
)

const (
	atollGroup = "atoll.dev"
	fleetGroup = "fleet.atoll.dev"
)

func rule(group string, resources []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

// grant gives a subject rights on the hub: in one project, or everywhere.
func grant(t *testing.T, f *testfleet.Fleet, project, name string, subject rbacv1.Subject, rules ...rbacv1.PolicyRule) {
	t.Helper()
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	objects := []client.Object{&rbacv1.ClusterRole{ObjectMeta: named("", name), Rules: rules}}
	if project != "" {
		objects = append(objects, &rbacv1.RoleBinding{ObjectMeta: named(project, name), RoleRef: ref, Subjects: []rbacv1.Subject{subject}})
	} else {
		objects = append(objects, &rbacv1.ClusterRoleBinding{ObjectMeta: named("", name), RoleRef: ref, Subjects: []rbacv1.Subject{subject}})
	}
	for _, o := range objects {
		if err := f.Hub.Client().Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Hub.Client().Delete(context.Background(), o); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		})
	}
}

// developer is a real credential of the hub: a service account that may deploy
// in one project and see what there is.
func developer(t *testing.T, f *testfleet.Fleet, project string) (*rest.Config, rbacv1.Subject) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: named(project, "developer")}
	if err := f.Hub.Client().Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	token := &authenticationv1.TokenRequest{}
	if err := f.Hub.Client().SubResource("token").Create(t.Context(), account, token); err != nil {
		t.Fatal(err)
	}
	subject := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: project, Name: "developer"}
	grant(t, f, project, "develop-"+project, subject,
		rule(atollGroup, []string{"applications", "revisions"}, "*"),
		rule(fleetGroup, []string{"applications", "applications/clusters", "applications/explain", "applications/objects", "applications/diff", "applications/events"}, "get"),
		rule(fleetGroup, []string{"contents"}, "create"))
	grant(t, f, "", "look-"+project, subject, rule(atollGroup, []string{"projects", "clusters", "placements"}, "get", "list"))
	config := rest.AnonymousClientConfig(f.Hub.Config())
	config.BearerToken = token.Status.Token
	return config, subject
}

func clientFor(t *testing.T, f *testfleet.Fleet, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: f.Hub.Client().Scheme(), Mapper: f.Hub.Client().RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func merge(patch string) client.Patch {
	return client.RawPatch("application/merge-patch+json", []byte(patch))
}

func project(name string) *v1alpha1.Project {
	return &v1alpha1.Project{ObjectMeta: named("", name)}
}

func cluster(name string) *v1alpha1.Cluster {
	return &v1alpha1.Cluster{ObjectMeta: named("", name)}
}

var upload = fleet.Upload{Files: []fleet.File{{Name: "a.yaml", Data: []byte(harmless)}}}

// privileges are the edits that need a verb of their own.
var privileges = []struct{ name, patch, verb string }{
	{"residency", `{"spec":{"residency":{"jurisdictions":["us"]}}}`, "classify"},
	{"tenant", `{"spec":{"tenant":"bank"}}`, "classify"},
	{"privileged", `{"spec":{"privileged":true}}`, "escalate"},
	{"kinds of power", `{"spec":{"kinds":[{"group":"rbac.authorization.k8s.io","kind":"ClusterRoleBinding"}]}}`, "escalate"},
	{"webhooks", `{"spec":{"kinds":[{"group":"admissionregistration.k8s.io","kind":"MutatingWebhookConfiguration"}]}}`, "escalate"},
}

func TestADeveloperStaysInTheProject(t *testing.T) {
	f := world(t)
	f.Project("dev-own")
	f.Project("dev-other")
	config, subject := developer(t, f, "dev-own")
	dev := clientFor(t, f, config)
	api, err := fleet.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	f.Deploy("dev-other", "vault", harmless)

	t.Run("does what a developer does", func(t *testing.T) {
		eventually(t, "the rights count", func(ctx context.Context) error {
			_, err := api.Upload(ctx, "dev-own", upload)
			return err
		})
		if err := dev.Create(t.Context(), application("dev-own", "mine", harmless)); err != nil {
			t.Error(err)
		}
		if _, err := api.Explain(t.Context(), "dev-own", "mine", ""); err != nil {
			t.Error(err)
		}
	})
	t.Run("and nothing in another project", func(t *testing.T) {
		_, err := api.Upload(t.Context(), "dev-other", upload)
		refused(t, "upload", err, "contents")
		for what, ask := range map[string]func() error{
			"explain":  func() error { _, err := api.Explain(t.Context(), "dev-other", "vault", ""); return err },
			"objects":  func() error { _, err := api.Objects(t.Context(), "dev-other", "vault", ""); return err },
			"diff":     func() error { _, err := api.Diff(t.Context(), "dev-other", "vault", ""); return err },
			"events":   func() error { _, err := api.Events(t.Context(), "dev-other", "vault"); return err },
			"clusters": func() error { _, err := api.ApplicationClusters(t.Context(), "dev-other", "vault"); return err },
			"overview": func() error { _, err := api.Overview(t.Context()); return err },
			"a cluster's report, which names every project": func() error { _, err := api.Report(t.Context(), inEU); return err },
			"a token for a cluster":                         func() error { _, err := api.Join(t.Context(), inEU, fleet.JoinRequest{}); return err },
			"read": func() error {
				return dev.Get(t.Context(), client.ObjectKey{Namespace: "dev-other", Name: "vault"}, &v1alpha1.Application{})
			},
			"list all":                        func() error { return dev.List(t.Context(), &v1alpha1.ApplicationList{}) },
			"write":                           func() error { return dev.Create(t.Context(), application("dev-other", "theirs", harmless)) },
			"the hub's Secrets":               func() error { return dev.List(t.Context(), &corev1.SecretList{}, client.InNamespace("atoll-system")) },
			"the own project's sealed values": func() error { return dev.List(t.Context(), &corev1.SecretList{}, client.InNamespace("dev-own")) },
			"a record of its own": func() error {
				return dev.Status().Patch(t.Context(), application("dev-own", "mine", ""), merge(`{"status":{"clusters":["us-east-1"]}}`))
			},
		} {
			refused(t, what, ask(), "")
		}
	})
	t.Run("and no privilege", func(t *testing.T) { noPrivilege(t, f, dev, subject) })
	t.Run("and no way through the tunnel", func(t *testing.T) { noTunnel(t, f, config, subject) })
}

// noPrivilege: without "update" nothing goes; with it, what gives power over
// clusters and data still needs the verb.
func noPrivilege(t *testing.T, f *testfleet.Fleet, dev client.Client, subject rbacv1.Subject) {
	for _, p := range privileges {
		refused(t, p.name+" without update", dev.Patch(t.Context(), project("dev-own"), merge(p.patch)), "cannot patch")
	}
	grant(t, f, "", "edit-dev-own", subject, rule(atollGroup, []string{"projects", "clusters"}, "create", "update", "patch"))
	eventually(t, "the rights count", func(ctx context.Context) error {
		return dev.Patch(ctx, project("dev-own"), merge(`{"spec":{"forbidPause":true}}`))
	})
	for _, p := range privileges {
		refused(t, p.name+" with update", dev.Patch(t.Context(), project("dev-own"), merge(p.patch)), p.verb)
	}
	for _, field := range []string{"jurisdiction", "tenant", "region"} {
		refused(t, "a cluster's "+field, dev.Patch(t.Context(), cluster(inUS), merge(`{"spec":{"`+field+`":"eu"}}`)), "classify")
		refused(t, "a cluster's "+field+" taken away", dev.Patch(t.Context(), cluster(inEU), merge(`{"spec":{"jurisdiction":null}}`)), "classify")
	}
	born := project("dev-born")
	born.Spec.Privileged = true
	refused(t, "a project born privileged", dev.Create(t.Context(), born), "escalate")
	before := project("dev-own")
	if err := f.Hub.Client().Get(t.Context(), client.ObjectKeyFromObject(before), before); err != nil {
		t.Fatal(err)
	}
	if before.Spec.Privileged || before.Spec.Residency != nil || before.Spec.Tenant != "" || len(before.Spec.Kinds) > 0 {
		t.Errorf("the project was changed: %+v", before.Spec)
	}
	// With the verb it is a decision of somebody who may take it.
	grant(t, f, "", "classify-dev-own", subject, rule(atollGroup, []string{"projects"}, "classify"))
	eventually(t, "classify counts", func(ctx context.Context) error {
		return dev.Patch(ctx, project("dev-own"), merge(`{"spec":{"residency":{"jurisdictions":["eu"]}}}`))
	})
}

// noTunnel: the hub asks its RBAC, the agent its own rules, the member its RBAC.
func noTunnel(t *testing.T, f *testfleet.Fleet, config *rest.Config, subject rbacv1.Subject) {
	const nodes = "/api/v1/nodes"
	try := func(what string, config *rest.Config, path string, header http.Header, want int, says string) {
		t.Helper()
		code, body := through(t, config, path, header)
		if code != want || !strings.Contains(body, says) {
			t.Errorf("%s: want %d and %q, got %d %s", what, want, says, code, body)
		}
	}
	proxy := func(cluster string) string { return fleet.Path + "/clusters/" + cluster + "/proxy" }
	as := func(user string, groups ...string) *rest.Config {
		c := f.Hub.Config()
		c.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
		return c
	}
	try("a developer without the right", config, proxy(inEU)+nodes, nil, 403, "clusters/proxy")
	dana := rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "dana"}
	only := rbacv1.PolicyRule{APIGroups: []string{fleetGroup}, Resources: []string{"clusters/proxy"}, ResourceNames: []string{inEU}, Verbs: []string{"get"}}
	grant(t, f, "", "tunnel-developer", subject, only)
	grant(t, f, "", "tunnel-dana", dana, only) // the last: when it counts, both do
	eventually(t, "the right counts", func(context.Context) error {
		if _, body := through(t, as("dana"), proxy(inEU)+nodes, nil); !strings.Contains(body, `atoll:dana`) {
			return apierrors.NewBadRequest(body)
		}
		return nil
	})
	try("a person who was given nothing in the member", as("dana"), proxy(inEU)+nodes, nil, 403, `User \"atoll:dana\" cannot list resource \"nodes\"`)
	try("another verb", as("dana"), proxy(inEU)+nodes, http.Header{"X-Method": {"POST"}}, 403, "clusters/proxy")
	try("another cluster", as("dana"), proxy(inUS)+nodes, nil, 403, "clusters/proxy")
	try("the hub's group of masters", as("dana", "system:masters"), proxy(inEU)+nodes, nil, 403, `User \"atoll:dana\" cannot`)
	try("the hub's admin", f.Hub.Config(), proxy(inEU)+nodes, nil, 403, `User \"atoll:atoll-admin\" cannot`)
	try("a system identity", as("system:admin", "system:masters"), proxy(inEU)+nodes, nil, 403, "system identities never pass")
	try("a service account of the hub", config, proxy(inEU)+nodes, nil, 403, "system identities never pass")
	try("a developer who impersonates", config, proxy(inEU)+nodes, http.Header{"Impersonate-User": {"atoll-admin"}}, 403, "cannot impersonate")
	try("headers to be dropped on the way", as("dana"), proxy(inEU)+nodes, http.Header{"Connection": {"Impersonate-User, Impersonate-Group"}}, 403, `User \"atoll:dana\" cannot`)
	for _, path := range []string{
		proxy(inEU) + "/../../" + inUS + "/proxy" + nodes,
		proxy(inEU) + "/%2e%2e/%2e%2e/" + inUS + "/proxy" + nodes,
		fleet.Path + "/clusters/" + inEU + "%2Fproxy/../" + inUS + "/proxy" + nodes,
		fleet.Path + "//clusters/" + inUS + "/proxy" + nodes,
	} {
		// A member that was reached would answer by that name.
		if code, body := through(t, as("dana"), path, nil); code == http.StatusOK || strings.Contains(body, `atoll:dana\" cannot list resource`) {
			t.Errorf("%s led to a member: %d %s", path, code, body)
		}
	}
}

// through makes a call with a path as it stands.
func through(t *testing.T, config *rest.Config, path string, header http.Header) (int, string) {
	t.Helper()
	config = rest.CopyConfig(config)
	config.NextProtos = []string{"http/1.1"} // HTTP/2 has no hop-by-hop headers to try
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	method := http.MethodGet
	if header.Get("X-Method") != "" {
		method = header.Get("X-Method")
	}
	req, err := http.NewRequestWithContext(t.Context(), method, config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}
