package hub

import (
	"bytes"
	"crypto/ed25519"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/audit"
	"atoll.dev/atoll/internal/fleet"
)

// said are the records that a query finds, in words.
func (b *bench) said(query url.Values) (words []string) {
	b.Helper()
	page, err := b.fleet.Audit(b.Context(), query)
	b.must(err)
	for _, r := range page.Records {
		line := []string{r.Verb, r.What(), r.Stage, r.Result}
		for _, c := range r.Changes {
			line = append(line, c.Text())
		}
		words = append(words, strings.Join(append(line, r.Reason, r.Impersonator), "|"))
		if r.User == "" || r.Source == "" || r.Request == "" || r.UserAgent == "" {
			b.Errorf("nobody knows who did it, or from where: %+v", r)
		}
	}
	return words
}

func TestWhatPeopleDoIsInTheAuditLogAndSecretsAreNot(t *testing.T) {
	const canary = "c4n4ry-of-the-audit-log"
	b := hubOf(t)
	b.project("audited")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "audited", Name: "door"}, StringData: map[string]string{"key": canary}}
	b.create(secret)
	b.must(b.client.Get(b.Context(), client.ObjectKeyFromObject(secret), secret))
	secret.Data["key"] = []byte(canary + canary)
	b.must(b.client.Update(b.Context(), secret))

	b.deploy("audited", "shop", "team=audited", v1alpha1.Orphan)
	app := &v1alpha1.Application{}
	// The hub may write beside.
	b.eventually("say why", func() error {
		*app = *b.app("audited", "shop")
		app.Annotations = map[string]string{v1alpha1.AnnotationReason: "ticket 42"}
		app.Spec.Namespace = "audited-web"
		return b.client.Update(b.Context(), app)
	})
	refused := app.DeepCopy()
	refused.Spec.DependsOn = []v1alpha1.Dependency{{Application: "shop"}}
	if err := b.client.Update(b.Context(), refused); !apierrors.IsInvalid(err) {
		t.Fatalf("an application that waits for itself: %v", err)
	}
	b.must(b.client.Create(b.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "audited", Name: "tried"}}, client.DryRunAll))
	_, err := b.fleet.Upload(b.Context(), "audited", fleet.Upload{Files: []fleet.File{{Name: "s.yaml", Data: []byte("{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {k: " + canary + "}}")}}})
	b.must(err)

	got := b.said(url.Values{"namespace": {"audited"}})
	for _, want := range []string{
		`create|secrets/door||Admitted|data.key: "(secret)"|`,
		"get|secrets/door||Admitted||",
		`update|secrets/door||Admitted|data.key: "(secret)" → "(secret)"||`,
		`update|applications/shop||Admitted|metadata.annotations.atoll.dev/reason: "ticket 42"|spec.namespace: "audited-web"|ticket 42|`,
		`update|applications/shop||Refused|spec.dependsOn: `,
		`create|contents||Done|content: "`,
	} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("nothing begins with %s in\n%s", want, strings.Join(got, "\n"))
		}
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, "tried") || strings.Contains(all, "|status") || strings.Contains(all, "revisions") {
		t.Errorf("what only was tried, or the hub itself did, is recorded:\n%s", all)
	}

	asBob := rest.CopyConfig(b.config)
	asBob.Impersonate = rest.ImpersonationConfig{UserName: "bob", Groups: []string{"atoll:admins"}}
	bob, err := client.New(asBob, client.Options{Scheme: b.client.Scheme()})
	b.must(err)
	b.must(bob.Delete(b.Context(), secret))
	if got := b.said(url.Values{"user": {"bob"}}); len(got) != 1 || !strings.HasPrefix(got[0], `delete|secrets/door||Admitted|data.key: "(secret)" removed`) || strings.HasSuffix(got[0], "|") {
		t.Errorf("who acts in bob's name is not told: %q", got)
	}

	log := filepath.Join(filepath.Dir(b.ready.AdminKubeconfig), "audit")
	b.must(fs.WalkDir(os.DirFS(log), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(log, path))
		if bytes.Contains(data, []byte(canary)) {
			t.Errorf("%s holds the value of a Secret", path)
		}
		return err
	}))
	verdict, err := b.fleet.VerifyAudit(b.Context())
	b.must(err)
	if len(verdict.Findings)+len(verdict.Notes) > 0 || verdict.Records == 0 {
		t.Errorf("%+v", verdict)
	}
}

// Who may write a Secret reads it by a write that changes nothing, and by a dry run.
func TestAWriteThatOnlyShowsASecretIsRecorded(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(audit.Options{Dir: t.TempDir(), Key: key, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "data": map[string]any{"k": "djE="}}}
	other := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "data": map[string]any{"k": "djI="}}}
	w := witness{log}
	for _, write := range []apiserver.Write{
		{Name: "same", Resource: corev1.SchemeGroupVersion.WithResource("secrets"), New: object},
		{Name: "tried", Resource: corev1.SchemeGroupVersion.WithResource("secrets"), New: other, DryRun: true},
		{Name: "same", Resource: corev1.SchemeGroupVersion.WithResource("configmaps"), New: object},
	} {
		write.Operation, write.Old, write.User = admission.Update, object, &user.DefaultInfo{Name: "eve"}
		if err := w.Wrote(t.Context(), write, nil); err != nil {
			t.Fatal(err)
		}
	}
	page, err := log.Query(t.Context(), audit.Query{User: "eve"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range page.Records {
		got = append(got, r.What()+": "+r.Message)
		if len(r.Changes) > 0 {
			t.Errorf("%s changed %v", r.What(), r.Changes)
		}
	}
	if want := []string{"secrets/same: ", "secrets/tried: a dry run, which shows what is secret"}; !slices.Equal(got, want) {
		t.Errorf("recorded are %q, not %q", got, want)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

func TestCallsIntoAClusterAreInTheAuditLogWithTheirEnd(t *testing.T) {
	b := hubOf(t)
	b.register("audited-member", nil)
	h, err := rest.HTTPClientFor(b.config)
	b.must(err)
	for _, path := range []string{"/api/v1/namespaces/web/pods", "/api/v1/namespaces/web/pods/web-1/log?container=app", "/api/v1/namespaces/web/secrets"} {
		resp, err := h.Get("https://" + b.ready.API + fleet.Path + "/clusters/audited-member/proxy" + path)
		b.must(err)
		b.must(resp.Body.Close())
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s of a cluster without an agent: %s", path, resp.Status)
		}
	}
	var got []string
	// The end is recorded after the answer.
	b.eventually("both ends", func() error {
		if got = b.said(url.Values{"resource": {"clusters"}, "name": {"audited-member"}}); len(got) < 5 {
			return fs.ErrNotExist
		}
		return nil
	})
	want := []string{
		"get|pods/log/web-1|Begin|||", "get|pods/log/web-1|End|Failed||", "list|secrets|Begin|||", "list|secrets|End|Failed||",
	}
	got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "create|clusters/") })
	slices.Sort(got) // an end may come after the next beginning
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	nobody := rest.CopyConfig(b.config)
	nobody.Impersonate = rest.ImpersonationConfig{UserName: "eve"}
	f, err := fleet.NewClient(nobody)
	b.must(err)
	if _, err := f.Audit(b.Context(), url.Values{}); !apierrors.IsForbidden(err) {
		t.Errorf("anybody may read what others do: %v", err)
	}
	if _, err := f.VerifyAudit(b.Context()); !apierrors.IsForbidden(err) {
		t.Errorf("anybody may have the log verified: %v", err)
	}
}
