package notify_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/notify"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/source"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func at(minutes int) metav1.Time {
	return metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))
}

func condition(kind string, status metav1.ConditionStatus, reason string, minute int) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, LastTransitionTime: at(minute)}
}

// shop is an application that was written at noon.
func shop(change func(*v1alpha1.Application)) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop", UID: "of-shop", CreationTimestamp: at(0), Generation: 1}}
	change(app)
	return app
}

func typesOf(events []notify.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.Type)
	}
	return out
}

func TestAnApplicationsTurnsAreToldOnceEach(t *testing.T) {
	counts := func(healthy, degraded, held int32, status metav1.ConditionStatus, minute int) func(*v1alpha1.Application) {
		return func(app *v1alpha1.Application) {
			app.Status.Counts = v1alpha1.Counts{Placed: 3, Healthy: healthy, Degraded: degraded, Held: held}
			app.Status.Conditions = []metav1.Condition{condition("Accepted", "True", "Accepted", 1), condition("Healthy", status, "R", minute)}
		}
	}
	refused := func(reason string) func(*v1alpha1.Application) {
		return func(app *v1alpha1.Application) {
			app.Status.Conditions = []metav1.Condition{condition("Accepted", "False", reason, 9)}
		}
	}
	seen := notify.NewSeen()
	for _, step := range []struct {
		what string
		app  func(*v1alpha1.Application)
		held map[string]string
		want []string
	}{
		{"a new one", func(*v1alpha1.Application) {}, nil, nil},
		{"is accepted and not well yet", counts(0, 0, 0, "False", 1), nil, []string{notify.Accepted}},
		{"is well for the first time", counts(3, 0, 0, "True", 2), nil, []string{notify.Healthy}},
		{"stays so", counts(3, 0, 0, "True", 2), nil, nil},
		{"a change is taken up", counts(1, 0, 0, "False", 3), nil, nil},
		{"without any trouble", counts(3, 0, 0, "True", 4), nil, nil},
		{"a cluster is degraded", counts(2, 1, 0, "False", 5), nil, []string{notify.Degraded}},
		{"another one, too", counts(1, 2, 0, "False", 5), nil, nil},
		{"they are being mended", counts(1, 0, 0, "False", 5), nil, nil},
		{"and well", counts(3, 0, 0, "True", 6), nil, []string{notify.Healthy}},
		{"a deletion is held", func(app *v1alpha1.Application) {
			counts(3, 0, 1, "True", 6)(app)
			app.Status.Exceptions = []v1alpha1.Exception{{Cluster: "eu-1", Sync: "Held"}}
		}, map[string]string{"eu-1": "abc"}, []string{notify.DeletionHeld}},
		{"it is allowed", counts(3, 0, 0, "True", 6), nil, nil},
		{"the next spec is refused", refused("Forbidden"), nil, []string{notify.Refused}},
		{"for the same", refused("Forbidden"), nil, nil},
		{"for another reason", refused("Invalid"), nil, []string{notify.Refused}},
	} {
		if diff := cmp.Diff(step.want, typesOf(seen.Application(shop(step.app), notify.Live{Held: step.held}))); diff != "" {
			t.Errorf("%s:\n%s", step.what, diff)
		}
	}
}

func TestAHubThatStartsTellsWhatItMayNotHaveToldUnderTheSameID(t *testing.T) {
	app := shop(func(app *v1alpha1.Application) {
		app.Status.Counts = v1alpha1.Counts{Placed: 1, Healthy: 1}
		app.Status.Conditions = []metav1.Condition{condition("Accepted", "True", "Accepted", 1), condition("Healthy", "True", "Healthy", 5)}
	})
	before := notify.NewSeen().Application(app, notify.Live{})
	after := notify.NewSeen().Application(app, notify.Live{})
	if len(before) != 2 || before[0].ID() != after[0].ID() || before[1].ID() != after[1].ID() || before[0].ID() == before[1].ID() {
		t.Fatalf("%v and %v", before, after)
	}
	route, err := notify.NewRoute(v1alpha1.Notification{Webhook: &v1alpha1.Webhook{}}, noon.Add(3*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range after {
		if route.Wants(e, nil) {
			told = append(told, e.Type)
		}
	}
	if diff := cmp.Diff([]string{notify.Healthy}, told); diff != "" {
		t.Errorf("all was told until three past noon (-want +got):\n%s", diff)
	}
}

func TestARolloutIsToldFromItsBeginToItsEnd(t *testing.T) {
	run := &v1alpha1.RolloutRun{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop-1", UID: "of-run", CreationTimestamp: at(0)}}
	run.Spec.Plan = v1alpha1.RolloutPlan{Application: "shop", Target: v1alpha1.Version{Digest: string(desired.Sum([]byte("x")))}, Waves: make([]v1alpha1.RolloutWave, 3)}
	seen := notify.NewSeen()
	for _, step := range []struct {
		phase v1alpha1.RolloutPhase
		wave  int32
		again int32
		want  []string
	}{
		{"", 0, 0, []string{notify.RolloutBegun}},
		{v1alpha1.RolloutProgressing, 0, 0, nil},
		{v1alpha1.RolloutProgressing, 1, 0, []string{notify.WavePassed}},
		{v1alpha1.RolloutWaiting, 1, 0, []string{notify.Waiting}},
		{v1alpha1.RolloutProgressing, 1, 0, nil},
		{v1alpha1.RolloutWaiting, 1, 0, nil},
		{v1alpha1.RolloutHalted, 1, 0, []string{notify.Halted}},
		{v1alpha1.RolloutHalted, 1, 0, nil},
		{v1alpha1.RolloutProgressing, 1, 1, nil},
		{v1alpha1.RolloutHalted, 1, 1, []string{notify.Halted}},
		{v1alpha1.RolloutProgressing, 1, 2, nil},
		{v1alpha1.RolloutComplete, 3, 2, []string{notify.WavePassed, notify.WavePassed, notify.RolloutDone}},
		{v1alpha1.RolloutComplete, 3, 2, nil},
	} {
		run.Status.Phase, run.Status.Wave, run.Status.Resumed = step.phase, step.wave, step.again
		events := seen.Rollout(run)
		if diff := cmp.Diff(step.want, typesOf(events)); diff != "" {
			t.Errorf("%s in wave %d:\n%s", step.phase, step.wave, diff)
		}
		for _, e := range events {
			if e.Subject != (notify.Subject{Project: "demo", Application: "shop"}) || e.Data.Rollout != "shop-1" {
				t.Errorf("told of %+v", e)
			}
		}
	}
}

// TestWhyAWaveWaitsIsToldOnce for each reason, to those too who listen to a hub that
// begins while it waits.
func TestWhyAWaveWaitsIsToldOnce(t *testing.T) {
	run := &v1alpha1.RolloutRun{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop-1", UID: "of-run", CreationTimestamp: at(0)}}
	run.Spec.Plan = v1alpha1.RolloutPlan{Application: "shop", Target: v1alpha1.Version{Digest: string(desired.Sum([]byte("x")))}, Waves: make([]v1alpha1.RolloutWave, 2)}
	run.Status.Wave = 1
	seen, ids := notify.NewSeen(), map[string]bool{}
	var told []string
	for i, message := range []string{"", "waits for its window", "waits for approval", "", "waits for approval", "waits for its window, another"} {
		if run.Status.Phase = v1alpha1.RolloutWaiting; message == "" {
			run.Status.Phase = v1alpha1.RolloutProgressing
		}
		run.Status.Message = message
		for _, e := range seen.Rollout(run) {
			if e.Type != notify.Waiting {
				continue
			}
			told, ids[e.ID()] = append(told, e.Data.Message), true
			if e.First || e.Data.Wave != 2 {
				t.Errorf("look %d: %+v", i, e)
			}
		}
	}
	if diff := cmp.Diff([]string{"waits for its window", "waits for approval", "waits for its window, another"}, told); diff != "" || len(ids) != 3 {
		t.Errorf("%d ids, told (-want +got):\n%s", len(ids), diff)
	}
	found := false
	for _, e := range notify.NewSeen().Rollout(run) {
		found = found || e.Type == notify.Waiting && e.First && ids[e.ID()]
	}
	if !found {
		t.Error("a hub that begins tells it as another event, or not")
	}
}

func TestALinkThatIsLateIsNotLost(t *testing.T) {
	c := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "eu-1", UID: "of-eu-1"}}
	seen := notify.NewSeen()
	for i, step := range []struct {
		state v1alpha1.ConnectionState
		want  []string
	}{
		{v1alpha1.Pending, nil},
		{v1alpha1.Connected, []string{notify.Connected}},
		{v1alpha1.Stale, nil},
		{v1alpha1.Connected, nil},
		{v1alpha1.Disconnected, []string{notify.Disconnected}},
		{v1alpha1.Connected, []string{notify.Connected}},
	} {
		since := at(i)
		c.Status.Connection = v1alpha1.Connection{State: step.state, Since: &since}
		if diff := cmp.Diff(step.want, typesOf(seen.Cluster(c))); diff != "" {
			t.Errorf("step %d, %s:\n%s", i, step.state, diff)
		}
	}
}

func TestACommitSucceedsOnlyByWhatClustersSayOfIt(t *testing.T) {
	const first, second = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	app := func(sha string, run *metav1.Condition) *v1alpha1.Application {
		return shop(func(app *v1alpha1.Application) {
			app.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://github.com/acme/shop"}
			app.Status.Source = &v1alpha1.FetchedSource{Of: source.Of(app), Commit: &v1alpha1.Commit{ID: "sha1:" + sha}}
			accepted := condition("Accepted", "True", "Accepted", 1)
			accepted.ObservedGeneration = 1
			app.Status.Conditions = []metav1.Condition{accepted, condition("Ready", "True", "Ready", 1)}
			if run != nil {
				app.Status.Conditions = append(app.Status.Conditions, *run)
			}
		})
	}
	under, halted := condition("RolledOut", "False", "Progressing", 2), condition("RolledOut", "False", "Halted", 3)
	well, behind, ill := v1alpha1.Counts{Placed: 2, InSync: 2, Healthy: 2}, v1alpha1.Counts{Placed: 2, InSync: 1, Healthy: 2}, v1alpha1.Counts{Placed: 2, InSync: 2, Healthy: 1, Degraded: 1}
	refused := app(second, nil)
	refused.Status.Source.Refused = &v1alpha1.RefusedCommit{ID: "sha1:" + second, Reason: "SourceEmpty", Message: "nothing\nthere"}
	seen := notify.NewSeen()
	for _, step := range []struct {
		what string
		app  *v1alpha1.Application
		live notify.Live
		want string
	}{
		{"a hub starts, and knows nothing of clusters yet", app(first, nil), notify.Live{Taken: true, Members: behind}, ""},
		{"they say that they are well", app(first, nil), notify.Live{Taken: true, Members: well}, "success"},
		{"a commit comes, of which the status does not speak", app(second, nil), notify.Live{Members: well}, "pending"},
		{"it travels", app(second, &under), notify.Live{Taken: true, Members: well}, ""},
		{"it is halted", app(second, &halted), notify.Live{Taken: true, Members: well}, "failure"},
		{"it travels on, and is through", app(second, nil), notify.Live{Taken: true, Members: well}, "success"},
		{"it breaks", app(second, nil), notify.Live{Taken: true, Members: ill}, "failure"},
		{"the same is said again", app(second, nil), notify.Live{Taken: true, Members: ill}, ""},
		{"the branch goes back", app(first, nil), notify.Live{}, "pending"},
		{"it is there, and being tried out", app(first, nil), notify.Live{Taken: true, Members: well, Trying: 2}, ""},
		{"which fails on one cluster", app(first, nil), notify.Live{Taken: true, Members: well, Trying: 1, Disproved: 1}, "failure"},
		{"and is done again", app(first, nil), notify.Live{Taken: true, Members: well}, "success"},
		{"a commit cannot be read", refused, notify.Live{}, "failure"},
	} {
		got := ""
		for _, e := range seen.Application(step.app, step.live) {
			if e.Type == notify.Commit {
				got = string(e.Report.State)
			}
		}
		if got != step.want {
			t.Errorf("%s: told %q, want %q", step.what, got, step.want)
		}
	}
}

func TestSomebodyWhoFightsTheHubIsOnePieceOfNewsAMinute(t *testing.T) {
	key := desired.Key{Project: "demo", Application: "shop"}
	d := notify.NewDrifts(noon)
	say := func(n int64, entry string, minute int) {
		s := report.State{Key: key, Entry: desired.Sum([]byte(entry)), Sync: report.InSync, Corrections: n}
		for i := range n {
			s.Drift = append(s.Drift, report.Change{Path: "spec.replicas", Old: "canary-value", Corrected: true, At: report.Time(noon) - 1000*(n-i)})
		}
		d.Reported("eu-1", s, noon.Add(time.Duration(minute)*time.Minute))
	}
	due := func(minute int) []notify.Event {
		return d.Due(noon.Add(time.Duration(minute)*time.Minute), func(desired.Key) types.UID { return "of-shop" })
	}
	say(3, "a", 0)
	if got := due(10); got != nil {
		t.Fatalf("what was corrected before the hub began is told: %v", got)
	}
	say(5, "a", 10)
	say(20, "a", 10)
	if got := due(10); got != nil {
		t.Fatalf("told at once: %v", got)
	}
	say(1, "b", 10) // another content, which counts anew
	got := due(11)
	if len(got) != 1 || got[0].Data.Corrections != 18 || len(got[0].Data.Changes) != notify.MaxNamed {
		t.Fatalf("told %+v", got)
	}
	if due(12) != nil {
		t.Error("told twice")
	}
}
