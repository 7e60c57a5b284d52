package e2e_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/sandbox/gitserver"
	"atoll.dev/atoll/internal/testfleet"
)

// followed is an application that follows a repository.
type followed struct {
	*testfleet.App
	t      *testing.T
	f      *testfleet.Fleet
	server *gitserver.Server
	repo   *gitserver.Repository
	asked  int
}

// follow makes the repository, the Secret and the application.
func follow(t *testing.T, f *testfleet.Fleet, project string, files map[string]string) *followed {
	t.Helper()
	server, err := gitserver.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	repo, err := server.Create("shop", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	x := &followed{App: f.App(project, "shop"), t: t, f: f, server: server, repo: repo}
	x.commit("the shop opens\n\nand more", files)
	server.Require("first")
	f.Project(project)
	x.create(&corev1.Secret{ObjectMeta: named(project, "repo"), Data: map[string][]byte{
		"ca.crt": server.CA(), "username": []byte("hub"), "password": []byte("first"), "webhook": []byte(hookKey)}})
	x.create(&v1alpha1.Application{ObjectMeta: named(project, "shop"), Spec: v1alpha1.ApplicationSpec{
		Source: v1alpha1.Source{Git: &v1alpha1.GitSource{
			URL: server.URL("shop"), Ref: v1alpha1.GitRef{Branch: "main"}, Path: "deploy", SecretRef: &v1alpha1.SecretReference{Name: "repo"}}},
		Placement: &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: "stage=production"}},
		OnDelete:  v1alpha1.Delete,
	}})
	return x
}

func (x *followed) create(o client.Object) {
	x.t.Helper()
	if err := x.f.Hub.Client().Create(x.t.Context(), o); err != nil {
		x.t.Fatal(err)
	}
}

func (x *followed) commit(message string, files map[string]string) string {
	x.t.Helper()
	id, err := x.repo.Commit(message, files)
	if err != nil {
		x.t.Fatal(err)
	}
	return "sha1:" + id
}

// look has the hub look at the repository now.
func (x *followed) look() {
	x.t.Helper()
	x.asked++
	app := &v1alpha1.Application{ObjectMeta: named(x.Project, x.Name)}
	patch := mergePatch(map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationFetch: fmt.Sprint(x.asked)}}})
	if err := x.f.Hub.Client().Patch(x.t.Context(), app, patch); err != nil {
		x.t.Fatal(err)
	}
}

// hookKey is what hooks are signed with.
const hookKey = "a key that nobody else knows"

// hook tells the hub as a Git host does, with a signature made by a key.
func (x *followed) hook(key string) int {
	x.t.Helper()
	const body = `{"ref": "refs/heads/main"}`
	signed := hmac.New(sha256.New, []byte(key))
	signed.Write([]byte(body))
	r, err := http.NewRequestWithContext(x.t.Context(), http.MethodPost, "http://"+x.f.Hub.Hooks+"/hooks/git/"+x.Project+"/repo", strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(signed.Sum(nil)))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// fails waits until the last look failed for a reason, in words that hold some.
func (x *followed) fails(reason, words string) *v1alpha1.Application {
	x.t.Helper()
	return x.Eventually("cannot be fetched: "+reason, func(app *v1alpha1.Application) bool {
		c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionFetched)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason && strings.Contains(c.Message, words)
	})
}

// runs waits until a commit is delivered.
func (x *followed) runs(commit string) *v1alpha1.Application {
	x.t.Helper()
	return x.Eventually("runs "+commit, func(app *v1alpha1.Application) bool {
		s := app.Status
		return s.Source != nil && s.Source.Commit != nil && s.Source.Commit.ID == commit && s.Source.Refused == nil &&
			conditionIs(s.Conditions, v1alpha1.ConditionAccepted, metav1.ConditionTrue) &&
			s.Counts == v1alpha1.Counts{Placed: 2, InSync: 2, Healthy: 2}
	})
}

func (x *followed) on(want string) {
	x.t.Helper()
	for _, name := range []string{"a", "b"} {
		becomes(x.t, x.f.Member(name), x.Project, "greeting", want)
	}
}

func TestAnApplicationFollowsItsRepositoryAndKeepsWhatRanWhenThatGoesWrong(t *testing.T) {
	f := fleet(t)
	const canary = "c4n4ry-in-git"
	x := follow(t, f, "gitops", map[string]string{
		"deploy/greeting.yaml": configMap("greeting", "one"),
		"deploy/sub/web.yaml":  deployment("web", "nginx:1", 1),
		"deploy/secret.yaml":   manifest("Secret", "login", map[string]any{"stringData": map[string]any{"password": canary}}),
		"deploy/README.md":     "not a manifest",
		"other/broken.yaml":    "not: [yaml",
	})
	head, err := x.repo.Git("rev-parse", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	first := "sha1:" + head
	app := x.runs(first)
	x.on("one")

	// What ran is named by its commit.
	revision := &v1alpha1.Revision{}
	if err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Namespace: "gitops", Name: app.Status.Revision}, revision); err != nil {
		t.Fatal(err)
	}
	if c := revision.Spec.Commit; c == nil || c.ID != first || c.Message != "the shop opens" || c.Author != "Ada <ada@example.com>" || c.Ref != "refs/heads/main" || revision.Spec.Secrets != 1 {
		t.Errorf("the revision is %+v with %+v", revision.Spec, c)
	}
	for _, args := range [][]string{{"describe", "app", "shop", "-p", "gitops"}, {"explain", "app/shop", "-p", "gitops"}, {"get", "revisions", "-p", "gitops"}} {
		if out := f.Hub.MustCLI(args...); !strings.Contains(out, head[:12]) {
			t.Errorf("atoll %v does not name the commit:\n%s", args, out)
		}
	}
	login := &corev1.Secret{}
	if err := f.Member("a").Client().Get(t.Context(), client.ObjectKey{Namespace: "gitops", Name: "login"}, login); err != nil || string(login.Data["password"]) != canary {
		t.Errorf("the Secret's value did not arrive: %v", err)
	}
	holdsNot(t, f.Hub.DataDir, canary)

	// A commit is delivered, and one that cannot be is not: what ran stays.
	second := x.commit("two", map[string]string{"deploy/greeting.yaml": configMap("greeting", "two")})
	if got := x.hook("a key that somebody guessed"); got != http.StatusForbidden {
		t.Errorf("a forged hook is answered with %d", got)
	}
	if got := x.hook(hookKey); got != http.StatusAccepted {
		t.Errorf("a hook is answered with %d", got)
	}
	x.runs(second)
	x.on("two")
	x.commit("broken", map[string]string{"deploy/greeting.yaml": "kind: [", "deploy/sub/web.yaml": ""})
	x.look()
	x.fails("SourceRefused", "greeting.yaml")
	app = x.Eventually("is refused", func(app *v1alpha1.Application) bool {
		return conditionIs(app.Status.Conditions, v1alpha1.ConditionAccepted, metav1.ConditionFalse)
	})
	if app.Status.Source.Commit.ID != second || app.Status.Revision == "" {
		t.Errorf("what ran is forgotten: %+v", app.Status)
	}
	x.on("two")
	present(t, f, "gitops")
	third := x.commit("mended", map[string]string{"deploy/greeting.yaml": configMap("greeting", "three"), "deploy/sub/web.yaml": deployment("web", "nginx:1", 1)})
	x.look()
	x.runs(third)

	// A source that is suddenly empty deletes nothing, in whatever way it is.
	x.commit("nothing left", map[string]string{"deploy/greeting.yaml": "", "deploy/sub": "", "deploy/secret.yaml": ""})
	x.look()
	x.fails("SourceEmpty", "no object")
	x.commit("not even a folder", map[string]string{"deploy": ""})
	x.look()
	x.fails("SourceRefused", "no folder")
	x.on("three")
	present(t, f, "gitops")

	// History is replaced: that is followed and told.
	if _, err := x.repo.Git("reset", "--quiet", "--hard", strings.TrimPrefix(second, "sha1:")); err != nil {
		t.Fatal(err)
	}
	fourth := x.commit("another history", map[string]string{"deploy/greeting.yaml": configMap("greeting", "four")})
	x.look()
	app = x.runs(fourth)
	x.on("four")
	if got := app.Status.Source.Commit.Replaces; got != third {
		t.Errorf("the commit is said to replace %q, not %s", got, third)
	}
	eventually(t, "the event that tells of it", func(ctx context.Context) error {
		list := &eventsv1.EventList{}
		if err := f.Hub.Client().List(ctx, list, client.InNamespace("gitops")); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == "HistoryRewritten" && strings.Contains(e.Note, third[5:17]) && strings.Contains(e.Note, fourth[5:17]) {
				return nil
			}
		}
		return fmt.Errorf("%d events", len(list.Items))
	})

	// Credentials are taken back and given again.
	x.server.Require("second")
	fifth := x.commit("behind a new password", map[string]string{"deploy/greeting.yaml": configMap("greeting", "five")})
	x.look()
	app = x.fails("CredentialRefused", "renew them in the Secret")
	if !conditionIs(app.Status.Conditions, v1alpha1.ConditionAccepted, metav1.ConditionTrue) {
		t.Errorf("what runs is no longer accepted: %+v", app.Status.Conditions)
	}
	if out := f.Hub.MustCLI("explain", "app/shop", "-p", "gitops"); !strings.Contains(out, "renew them in the Secret") {
		t.Errorf("explain does not tell of it:\n%s", out)
	}
	x.on("four")
	secret := &corev1.Secret{ObjectMeta: named("gitops", "repo")}
	if err := f.Hub.Client().Patch(t.Context(), secret, mergePatch(map[string]any{"stringData": map[string]any{"password": "second"}})); err != nil {
		t.Fatal(err)
	}
	x.runs(fifth) // without being asked: a failed look is repeated

	// A hub that starts while the server is away delivers what it has.
	x.server.Away(true)
	f.Hub.Restart()
	x.look()
	x.fails("Unreachable", "502")
	x.Settles(2)
	x.on("five")
	x.server.Away(false)
	sixth := x.commit("back", map[string]string{"deploy/greeting.yaml": configMap("greeting", "six")})
	x.look()
	x.runs(sixth)
}

// present says that what a repository no longer has is still in the members.
func present(t *testing.T, f *testfleet.Fleet, project string) {
	t.Helper()
	for _, name := range []string{"a", "b"} {
		if !exists(t, f.Member(name), &corev1.Secret{}, project, "login") {
			t.Errorf("the Secret is gone from %s", name)
		}
	}
}

// holdsNot looks for a text in all files of a hub but the copies of
// repositories, which hold what their owners put there.
func holdsNot(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err):
			return nil // the hub is working
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "source-cache":
			return filepath.SkipDir
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(data), text) {
				t.Errorf("%s holds the value of a Secret", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestManyApplicationsOfOneRepositoryCostOneFetchOverSSHOrHTTPS(t *testing.T) {
	f := fleet(t)
	files := map[string]string{}
	for i := range 12 {
		files[fmt.Sprintf("apps/%d/cm.yaml", i)] = configMap(fmt.Sprint("cm-", i), "v1")
	}
	x := follow(t, f, "gitmany", map[string]string{"deploy/greeting.yaml": configMap("greeting", "one")})
	x.Settles(2)
	x.commit("apps", files)
	_, before := x.server.Counts()
	for i := range 12 {
		x.create(&v1alpha1.Application{ObjectMeta: named("gitmany", fmt.Sprint("app-", i)), Spec: v1alpha1.ApplicationSpec{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{
				URL: x.server.URL("shop"), Path: fmt.Sprint("apps/", i), SecretRef: &v1alpha1.SecretReference{Name: "repo"}}},
			Placement: &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: "stage=production"}},
			Namespace: "gitmany",
		}})
	}
	for i := range 12 {
		f.App("gitmany", fmt.Sprint("app-", i)).Settles(2)
	}
	// One for their commit; and if the first application saw it before them, one
	// that tells how it came about.
	if _, fetches := x.server.Counts(); fetches-before > 2 {
		t.Errorf("12 applications fetched %d times", fetches-before)
	}
	x.create(&corev1.Secret{ObjectMeta: named("gitmany", "shell"), Data: map[string][]byte{
		"identity": x.server.Identity, "known_hosts": x.server.KnownHosts()}})
	x.create(&v1alpha1.Application{ObjectMeta: named("gitmany", "shell"), Spec: v1alpha1.ApplicationSpec{
		Source: v1alpha1.Source{Git: &v1alpha1.GitSource{
			URL: x.server.ShellURL("shop"), Path: "deploy", SecretRef: &v1alpha1.SecretReference{Name: "shell"}}},
		Placement: &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Names: []string{"a"}}},
		Namespace: "gitmany-shell",
	}})
	f.App("gitmany", "shell").Settles(1)
	becomes(t, f.Member("a"), "gitmany-shell", "greeting", "one")
}
