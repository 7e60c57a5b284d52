package hub

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox/gitserver"
)

// outside is a server that is told things, and keeps them.
type outside struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	paths  []string
}

func newOutside(t *testing.T) *outside {
	o := &outside{}
	o.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.bodies, o.paths = append(o.bodies, string(body)), append(o.paths, r.URL.Path)
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *outside) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw})
}

// events are what a webhook was told of a subject: the types and their IDs.
func (o *outside) events(t *testing.T, subject string) (types, ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, body := range o.bodies {
		var e struct{ ID, Type, Subject string }
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("told %s: %v", body, err)
		}
		if e.Subject == subject {
			types, ids = append(types, strings.TrimPrefix(e.Type, "dev.atoll.")), append(ids, e.ID)
		}
	}
	return types, ids
}

// states are what a Git host was told of a commit.
func (o *outside) states(sha string) (states []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, path := range o.paths {
		var f struct{ State string }
		if strings.HasSuffix(path, "/api/v1/repos/acme/site/statuses/"+sha) && json.Unmarshal([]byte(o.bodies[i]), &f) == nil {
			states = append(states, f.State)
		}
	}
	return states
}

// follows says that words come in this order in a list, whatever lies between.
func follows(list []string, words ...string) error {
	rest := list
	for _, w := range words {
		i := slices.Index(rest, w)
		if i < 0 {
			return fmt.Errorf("told %q, in which %q does not come in its turn", list, w)
		}
		rest = rest[i+1:]
	}
	return nil
}

func TestWhatBecomesOfApplicationsIsToldOutside(t *testing.T) {
	const canary, project = "canary-c0ffee-of-the-receivers", "told"
	s := newTrio(hubOf(t), project, &v1alpha1.Rollout{OnFailure: v1alpha1.Halt, Waves: []v1alpha1.Wave{{Share: "30%"}, {Share: "100%"}}})
	hook, host := newOutside(t), newOutside(t)
	secret := func(name string, data map[string][]byte) {
		s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name}, Data: data})
	}
	secret("hook", map[string][]byte{"ca.crt": hook.ca(), "hmacKey": []byte(canary)})
	secret("host", map[string][]byte{"ca.crt": host.ca(), "bearerToken": []byte(canary)})
	s.told(project, []v1alpha1.Notification{
		{Name: "away", Webhook: &v1alpha1.Webhook{URL: "https://127.0.0.1:1/in"}},
		{Name: "hook", Webhook: &v1alpha1.Webhook{URL: hook.URL + "/in", SecretRef: &v1alpha1.SecretReference{Name: "hook"}}},
		{Name: "host", CommitStatus: &v1alpha1.CommitStatus{Provider: v1alpha1.Gitea, URL: host.URL + "/api/v1", SecretRef: v1alpha1.SecretReference{Name: "host"}}},
	})

	bad := s.release("bad")
	s.runs(0, bad, report.HealthDegraded)
	s.run("shop-1", v1alpha1.RolloutHalted)
	good := s.release("good")
	for i := range s.members {
		s.runs(i, good, report.HealthHealthy)
	}
	s.run("shop-2", v1alpha1.RolloutComplete)
	const shop = "projects/told/applications/shop"
	s.eventually("the rollouts are told of", func() error {
		types, ids := hook.events(t, shop)
		slices.Sort(ids)
		if len(slices.Compact(ids)) != len(types) {
			return fmt.Errorf("some of %q are told twice", types)
		}
		return errors.Join(
			follows(types, "application.rollout.begun", "application.rollout.halted", "application.rollout.superseded"),
			follows(types, "application.rollout.halted", "application.rollout.begun", "application.rollout.wave-passed", "application.rollout.complete"),
			follows(types, "application.degraded", "application.healthy"))
	})

	s.members[2].link.Close(nil)
	s.eventually("a cluster that is lost is told of", func() error {
		types, _ := hook.events(t, "clusters/told-3")
		return follows(types, "cluster.disconnected")
	})
	s.members[2].connect()

	s.commits(host)

	s.eventually("the project says who cannot be told, and why", func() error {
		p := &v1alpha1.Project{}
		s.must(s.client.Get(t.Context(), client.ObjectKey{Name: project}, p))
		if told := fmt.Sprintf("%+v", p.Status.Notify); strings.Contains(told, canary) {
			t.Fatalf("a secret stands in the status: %s", told)
		}
		for _, n := range p.Status.Notify {
			failing := n.Failure != nil && n.Pending > 0 && strings.Contains(n.Failure.Message, "127.0.0.1:1 cannot be reached")
			if failing != (n.Name == "away") || !failing && n.Delivered == nil {
				return fmt.Errorf("%+v, %+v", n, n.Failure)
			}
		}
		return nil
	})
	for _, o := range []*outside{hook, host} {
		o.mu.Lock()
		if all := strings.Join(o.bodies, "\n"); strings.Contains(all, canary) {
			t.Error("a secret was told")
		}
		o.mu.Unlock()
	}
}

// told has a project name receivers, and waits until they are known.
func (s *trio) told(project string, whom []v1alpha1.Notification) {
	s.Helper()
	p := &v1alpha1.Project{}
	s.must(s.client.Get(s.Context(), client.ObjectKey{Name: project}, p))
	patch := client.MergeFrom(p.DeepCopy())
	p.Spec.Notify = whom
	s.must(s.client.Patch(s.Context(), p, patch))
	s.eventually("the receivers are known", func() error {
		s.must(s.client.Get(s.Context(), client.ObjectKey{Name: project}, p))
		if len(p.Status.Notify) != len(whom) {
			return fmt.Errorf("%+v", p.Status.Notify)
		}
		return nil
	})
}

// commits has an application follow a repository, and its host hear of each commit.
func (s *trio) commits(host *outside) {
	s.Helper()
	git, err := gitserver.Start(s.TempDir())
	s.must(err)
	s.Cleanup(func() { _ = git.Close() })
	repository, err := git.Create("acme/site", s.TempDir())
	s.must(err)
	commit := func(text string) string {
		sha, err := repository.Commit("a change", map[string]string{"site.yaml": text})
		s.must(err)
		return sha
	}
	first := commit(fmt.Sprintf(manifest, "one"))
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.project, Name: "git"}, Data: map[string][]byte{"ca.crt": git.CA()}})
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: s.project, Name: "site"}}
	app.Spec.Source.Git = &v1alpha1.GitSource{URL: git.URL("acme/site"), SecretRef: &v1alpha1.SecretReference{Name: "git"}}
	app.Spec.Placement = &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: "test=" + s.project}}
	s.create(app)
	key := desired.Key{Project: s.project, Application: "site"}
	for _, m := range s.members {
		m.until("the commit", func(r desired.Root) bool { _, ok := r.Get(key); return ok })
	}
	s.eventually("it is pending", func() error { return follows(host.states(first), "pending") })
	for _, m := range s.members {
		m.reports(key, report.InSync, report.HealthHealthy)
	}
	s.eventually("it succeeded", func() error {
		if got := host.states(first); !slices.Equal(got, []string{"pending", "success"}) {
			return fmt.Errorf("told %q", got)
		}
		return nil
	})
	broken := commit("no: [manifest")
	patch := client.MergeFrom(app.DeepCopy())
	app.Annotations = map[string]string{v1alpha1.AnnotationFetch: "now"}
	s.must(s.client.Patch(s.Context(), app, patch))
	s.eventually("the next one failed", func() error { return follows(host.states(broken), "failure") })
}
