package notify

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/notify"
	"atoll.dev/atoll/internal/notify/deliver"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/source"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// world is receivers by name, which fail as long as they are told to.
type world struct {
	*testing.T
	teller *Teller
	mu     sync.Mutex
	fails  map[string]error
	told   map[string][]string // the IDs, by receiver
	tried  map[string]int
	news   chan struct{}
	ctx    context.Context
	ended  sync.WaitGroup
}

type sender struct {
	*world
	name string
}

func (s sender) Close() {}

func (s sender) Send(_ context.Context, e notify.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried[s.name]++
	err := s.fails[s.name]
	if err == nil {
		word := e.Subject.Application + " " + e.Type
		if e.Report != nil {
			word += " " + string(e.Report.State)
		}
		s.told[s.name] = append(s.told[s.name], word)
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
	return err
}

// newWorld is a hub that begins to lead at noon, and a project's receivers.
func newWorld(t *testing.T, status []v1alpha1.NotificationStatus, names ...string) *world {
	w := &world{T: t, fails: map[string]error{}, told: map[string][]string{}, tried: map[string]int{}, news: make(chan struct{}, 1)}
	var stop context.CancelFunc
	w.ctx, stop = context.WithCancel(t.Context())
	w.teller = New(Options{
		Book:    desired.NewBook(func(string) {}),
		State:   func(string, desired.Key) report.State { return report.State{} },
		Summary: func(*v1alpha1.Application) observed.Summary { return observed.Summary{} },
		Open:    func(n v1alpha1.Notification, _ *source.Secret) (Sender, error) { return sender{w, n.Name}, nil },
		Now:     func() time.Time { return noon }, Spread: func(time.Duration) time.Duration { return 0 },
		Log: slog.New(slog.DiscardHandler),
	})
	w.Cleanup(func() { stop(); w.ended.Wait() })
	w.names(status, names...)
	return w
}

// names has the project name receivers.
func (w *world) names(status []v1alpha1.NotificationStatus, names ...string) {
	p := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "demo"}, Status: v1alpha1.ProjectStatus{Notify: status}}
	for _, name := range names {
		p.Spec.Notify = append(p.Spec.Notify, v1alpha1.Notification{Name: name, Webhook: &v1alpha1.Webhook{URL: "https://" + name}})
	}
	w.teller.project(p, w.start)
}

func (w *world) start(r *receiver) {
	ctx, stop := context.WithCancel(w.ctx)
	r.stop = stop
	w.ended.Go(func() { w.teller.serve(ctx, r) })
}

// store has one application.
type store struct{ app *v1alpha1.Application }

func (s store) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	switch o := o.(type) {
	case *v1alpha1.Application:
		s.app.DeepCopyInto(o)
	case *corev1.Secret:
		o.Data = map[string][]byte{"bearerToken": []byte("x")}
	}
	return nil
}

func (s store) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// A hub that starts has worked its applications out before it knows who wants to
// hear of commits.
func TestACommitThatTravelsWhenAHubStartsIsToldOfWhenItIsThrough(t *testing.T) {
	w := newWorld(t, nil)
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "site", UID: "of-site", ResourceVersion: "7"}}
	app.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://github.com/acme/site"}
	app.Status.Source = &v1alpha1.FetchedSource{Of: source.Of(app), Commit: &v1alpha1.Commit{ID: "sha1:1111111111111111111111111111111111111111"}}
	app.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", LastTransitionTime: metav1.NewTime(noon.Add(-time.Hour))}}
	w.teller.Live = store{app}
	members := v1alpha1.Counts{Placed: 1}
	w.teller.Summary = func(*v1alpha1.Application) observed.Summary { return observed.Summary{Counts: members} }
	w.must(w.teller.Entered(t.Context(), app))
	p := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
	p.Spec.Notify = []v1alpha1.Notification{{Name: "git", CommitStatus: &v1alpha1.CommitStatus{Provider: v1alpha1.GitHub, SecretRef: v1alpha1.SecretReference{Name: "x"}}}}
	w.teller.project(p, w.start)
	w.teller.confirmAll(t.Context(), "demo") // pending for an hour, and told so by the hub before
	w.teller.mu.Lock()
	members.InSync, members.Healthy = 1, 1
	w.teller.mu.Unlock()
	app.ResourceVersion = "8"
	w.teller.application(app)
	w.eventually("told", func() bool {
		return slices.Equal(w.told["git"], []string{"site commit.status success"}) && w.status("git").Pending == 0
	})
	app.ResourceVersion = "6" // a cache that is behind
	members.InSync = 0
	w.teller.application(app)
	if s := w.status("git"); s.Pending != 0 {
		t.Errorf("what is old is told: %+v", s)
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// becomes shows an application that was accepted so many minutes past noon.
func (w *world) becomes(name, version string, status metav1.ConditionStatus, minute int) {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, UID: types.UID(name), ResourceVersion: version}}
	app.Status.Conditions = []metav1.Condition{{Type: "Accepted", Status: status, Reason: "R", LastTransitionTime: metav1.NewTime(noon.Add(time.Duration(minute) * time.Minute))}}
	w.teller.application(app)
}

func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	late := time.After(2 * time.Minute)
	for {
		w.mu.Lock()
		ok := is()
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-w.news:
		case <-time.After(10 * time.Millisecond):
		case <-late:
			w.Fatalf("%s; told %v after %v", what, w.told, w.tried)
		}
	}
}

func (w *world) status(name string) v1alpha1.NotificationStatus {
	w.teller.mu.Lock()
	defer w.teller.mu.Unlock()
	return w.teller.projects["demo"].receivers[name].status(noon)
}

func TestAHubThatStartsNeitherFloodsNorForgets(t *testing.T) {
	status := []v1alpha1.NotificationStatus{{Name: "ops", ToldUntil: metav1.NewTime(noon.Add(-5 * time.Minute))}}
	w := newWorld(t, status, "ops", "new")
	w.becomes("old", "1", "True", -60)     // told long ago
	w.becomes("between", "1", "False", -3) // became so while no hub was there
	w.becomes("between", "2", "False", -3) // its status is written again
	w.becomes("old", "2", "False", -1)     // what an hour ago was so changed
	w.becomes("later", "3", "True", 1)     // comes while this hub runs
	want := []string{"between application.refused", "old application.refused", "later application.accepted"}
	w.eventually("told what is new", func() bool { return slices.Equal(w.told["ops"], want) })
	// Who is named now for the first time hears what becomes so from now on, or changes.
	w.eventually("told what is new", func() bool { return slices.Equal(w.told["new"], want[1:]) })
	w.eventually("recorded", func() bool {
		s := w.status("ops")
		return s.ToldUntil.Time.Equal(noon) && s.Pending == 0 && s.Delivered != nil
	})
}

func TestAReceiverThatIsAwayKeepsNobodyElseWaitingAndLosesNothing(t *testing.T) {
	w := newWorld(t, nil, "dead", "ops")
	w.mu.Lock()
	w.fails["dead"] = &deliver.Failure{Away: true, Err: errors.New("nobody is there")}
	w.mu.Unlock()
	w.becomes("a", "1", "True", 1)
	w.becomes("a", "2", "False", 2)
	w.becomes("b", "1", "True", 3)
	want := []string{"a application.accepted", "a application.refused", "b application.accepted"}
	w.eventually("the other is told", func() bool { return slices.Equal(w.told["ops"], want) })
	w.eventually("it is tried again", func() bool { return w.tried["dead"] > 2 })
	s := w.status("dead")
	if s.Failure == nil || s.Failure.Message != "nobody is there" || s.Failure.Event != notify.Accepted || s.Pending != 3 || s.ToldUntil.Time.After(noon.Add(time.Minute)) {
		t.Errorf("recorded %+v", s)
	}
	w.mu.Lock()
	delete(w.fails, "dead")
	w.mu.Unlock()
	w.eventually("it is told when it is back, of each in order", func() bool {
		told := w.told["dead"]
		return len(told) == len(want) && slices.Contains(told, want[2]) && slices.Index(told, want[0]) < slices.Index(told, want[1])
	})
	w.eventually("the failure is over", func() bool { return w.status("dead").Failure == nil })
}

func TestWhatAReceiverRefusesForGoodIsGivenUpAndCounted(t *testing.T) {
	w := newWorld(t, nil, "ops")
	w.mu.Lock()
	w.fails["ops"] = &deliver.Failure{Final: true, Err: errors.New("no such thing")}
	w.mu.Unlock()
	w.becomes("a", "1", "True", 1)
	w.eventually("it is given up", func() bool { return w.status("ops").Dropped == 1 })
	w.mu.Lock()
	delete(w.fails, "ops")
	w.mu.Unlock()
	w.becomes("a", "2", "False", 2)
	w.eventually("the next is told", func() bool { return slices.Equal(w.told["ops"], []string{"a application.refused"}) })
}

// What is not made for a Git host it can make nothing of.
func TestWhatWaitsForAWebhookIsNotForAGitHostOfTheSameName(t *testing.T) {
	w := newWorld(t, nil, "it")
	w.teller.Live = store{}
	w.mu.Lock()
	w.fails["it"] = &deliver.Failure{Away: true, Err: errors.New("nobody is there")}
	w.mu.Unlock()
	w.becomes("a", "1", "True", 1)
	p := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
	p.Spec.Notify = []v1alpha1.Notification{{Name: "it", CommitStatus: &v1alpha1.CommitStatus{Provider: v1alpha1.GitHub, SecretRef: v1alpha1.SecretReference{Name: "x"}}}}
	w.teller.project(p, w.start)
	if s := w.status("it"); s.Pending != 0 || s.ToldUntil.Time.Before(noon) {
		t.Errorf("it is to be told of what a webhook was: %+v", s)
	}
}

func TestWhoIsNamedNoMoreIsToldNoMore(t *testing.T) {
	w := newWorld(t, nil, "ops", "gone")
	w.names(nil, "ops")
	w.becomes("a", "1", "True", 1)
	w.eventually("told", func() bool { return len(w.told["ops"]) == 1 })
	w.names(nil)
	w.becomes("a", "2", "False", 2)
	w.ended.Wait() // all workers ended
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.told["ops"]) != 1 || w.tried["gone"] != 0 {
		t.Errorf("told %v", w.told)
	}
}

func TestWhoIsNamedAgainIsNotToldOfTheMeantime(t *testing.T) {
	w := newWorld(t, nil, "ops")
	w.names(nil)
	long := []v1alpha1.NotificationStatus{{Name: "ops", ToldUntil: metav1.NewTime(noon.Add(-time.Hour))}} // as it was left
	w.names(long, "ops")
	w.becomes("a", "1", "True", -30)
	w.becomes("b", "1", "True", 1)
	w.eventually("told of what is new alone", func() bool { return slices.Equal(w.told["ops"], []string{"b application.accepted"}) })
}
