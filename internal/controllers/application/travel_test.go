package application

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

// aRun has told one cluster, "eu", of what comes after "before".
func aRun(app *v1alpha1.Application) (run *v1alpha1.RolloutRun, before, target v1alpha1.Version) {
	before = rollout.VersionOf(app, "shop", string(desired.Sum([]byte("before"))))
	target = rollout.VersionOf(app, "shop", string(desired.Sum([]byte("target"))))
	run = &v1alpha1.RolloutRun{}
	run.Spec.Plan = v1alpha1.RolloutPlan{
		Application: app.Name, Number: 1, Target: target, Waves: []v1alpha1.RolloutWave{{Clusters: []string{"eu"}}},
		Before: []v1alpha1.VersionGroup{{Version: before, Clusters: []string{"eu"}}},
	}
	run.Status = v1alpha1.RolloutRunStatus{Phase: v1alpha1.RolloutProgressing, Started: 1}
	return run, before, target
}

func TestAClusterPassesOnlyWithTheVersionOfTheRun(t *testing.T) {
	app := application(2, time.Now())
	app.Spec.LateBinding, app.Spec.Variables = true, map[string]string{"size": "2", "unused": "x"}
	run, before, target := aRun(app)
	project, cluster := &v1alpha1.Project{}, &v1alpha1.Cluster{}
	project.Name, cluster.Name = "demo", "eu"
	entry := func(v v1alpha1.Version) desired.Entry {
		return desired.Build(rollout.With(app, v), project, cluster, desired.Digest(v.Digest))
	}
	resized := target
	resized.Variables = map[string]string{"size": "1", "unused": "x"}
	for _, tc := range []struct {
		name         string
		entry        desired.Entry
		passed, held bool
	}{
		{"it is told and well", entry(target), true, false},
		{"the Book could not be written: it is well with what it had", entry(before), false, false},
		{"it is told of the content, with the variables of before", entry(resized), false, false},
		{"the version is refused for it, and it is well with what it had", desired.Hold(app), false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := time.Now()
			r := &Intent{Book: desired.NewBook(func(string) {}), Fleet: observed.New(func(observed.Change) {}), Heartbeat: time.Minute, Now: func() time.Time { return now }}
			r.Book.Set(tc.entry.Key, map[string]desired.Entry{"eu": tc.entry})
			r.Fleet.Connect("eu", now)
			well := report.State{Key: tc.entry.Key, Entry: tc.entry.Digest(), Sync: report.InSync, Health: report.HealthHealthy,
				Verification: &report.Verification{Verdict: report.VerificationPassed}}
			r.Fleet.Report("eu", report.Report{
				Full: true, States: []report.State{well}, Digest: report.Digest(map[desired.Key]report.State{well.Key: well}),
			}, now)
			m := r.members(app, run, map[string]bool{"eu": true})["eu"]
			if verified := m.Verification != nil && m.Reading != nil && m.Reading.Report.Verification == "Passed"; verified != tc.passed {
				t.Errorf("of another version it says %v", m.Verification)
			}
			if m.Passed != tc.passed || strings.Contains(m.Why, "Accepted") != tc.held {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestRunsOfAFormerApplicationOfTheNameAreNotTakenForItsOwn(t *testing.T) {
	made := func(uid types.UID, number int64, at time.Time) *v1alpha1.RolloutRun {
		app := application(1, at)
		app.UID = uid
		run := newRun(app, v1alpha1.RolloutPlan{Application: app.Name, Number: number})
		run.UID, run.CreationTimestamp = uid+types.UID(run.Name), metav1.NewTime(at)
		return run
	}
	noon := time.Now()
	r := &Runs{latest: map[types.NamespacedName]map[types.UID]*v1alpha1.RolloutRun{}}
	orphan := made("old", 9, noon)
	orphan.OwnerReferences = nil
	for _, run := range []*v1alpha1.RolloutRun{made("new", 1, noon), made("old", 7, noon), made("new", 2, noon), made("old", 6, noon), orphan} {
		r.keep(run)
	}
	name := types.NamespacedName{Namespace: "demo", Name: "web"}
	if run := r.known(name, "new"); run == nil || run.Spec.Plan.Number != 2 {
		t.Errorf("got %+v", run)
	}
	if run := r.known(name, "newest"); run != nil {
		t.Errorf("an application without a run has %+v", run)
	}
}

func TestAHubThatHasJustBegunBeginsNoRunWhileAClusterIsAway(t *testing.T) {
	app := application(2, time.Now())
	app.Spec.Rollout, app.Status.Clusters = &v1alpha1.Rollout{}, []string{"eu"}
	run, before, target := aRun(app)
	run.Spec.Plan.Target, run.Status.Phase = before, v1alpha1.RolloutComplete
	project, cluster := &v1alpha1.Project{}, v1alpha1.Cluster{}
	project.Name, cluster.Name = "demo", "eu"
	state := assign.State{App: app, Project: project, Clusters: []v1alpha1.Cluster{cluster}, Content: desired.Digest(target.Digest)}
	for name, last := range map[string]*v1alpha1.RolloutRun{"after another run": run, "the first run": nil} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			r := &Intent{Book: desired.NewBook(func(string) {}), Fleet: observed.New(func(observed.Change) {}), Heartbeat: time.Minute, Now: func() time.Time { return now }, Began: now.Add(-time.Second)}
			e := desired.Build(rollout.With(app, before), project, &cluster, desired.Digest(before.Digest))
			r.Book.Set(e.Key, map[string]desired.Entry{"eu": e})
			c := course{run: last}
			if err := r.depart(t.Context(), app, &state, &c, map[string]bool{"eu": true}); err != nil {
				t.Fatal(err)
			}
			if !c.early || c.run != last || c.wake != FirstWord-time.Second || c.told().True {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestAFrozenApplicationKeepsWhatItsClustersWereTold(t *testing.T) {
	app := application(2, time.Now())
	app.Status.Clusters, app.Spec.Source.Inline = []string{"eu"}, "x"
	_, before, target := aRun(app)
	app.Status.Revision = desired.RevisionName(app.Name, desired.Digest(before.Digest))
	project := &v1alpha1.Project{}
	project.Name = "demo"
	clusters := []v1alpha1.Cluster{{ObjectMeta: metav1.ObjectMeta{Name: "eu"}}, {ObjectMeta: metav1.ObjectMeta{Name: "us"}}}
	entry := func(i int, v v1alpha1.Version) desired.Entry {
		return desired.Build(rollout.With(app, v), project, &clusters[i], desired.Digest(v.Digest))
	}
	told := entry(0, before)
	edited := told
	edited.Generation++
	for _, tc := range []struct {
		name    string
		told    map[string]desired.Entry
		decided map[string]desired.Entry
		content string
		want    desired.Entry
		waits   bool
	}{
		{"nothing is new", map[string]desired.Entry{"eu": told}, map[string]desired.Entry{"eu": edited}, before.Digest, told, false},
		{"a change", map[string]desired.Entry{"eu": told}, map[string]desired.Entry{"eu": entry(0, target)}, target.Digest, told, true},
		{"another cluster", map[string]desired.Entry{"eu": told}, map[string]desired.Entry{"eu": told, "us": entry(1, before)}, before.Digest, told, true},
		{"it is to let go", map[string]desired.Entry{"eu": told}, map[string]desired.Entry{"eu": desired.Withdraw(told)}, before.Digest, told, true},
		{"the hub has just started", nil, map[string]desired.Entry{"eu": told}, before.Digest, desired.Hold(app), false},
		{"it has just started, and there is a change", nil, map[string]desired.Entry{"eu": entry(0, target)}, target.Digest, desired.Hold(app), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &Intent{Book: desired.NewBook(func(string) {}), Now: time.Now}
			r.Book.Set(told.Key, tc.told)
			c := course{plan: assign.Plan{Entries: tc.decided, Clusters: []string{"eu"}}, frozen: &rollout.Frozen{Scope: "everything"}}
			r.keep(app, assign.State{App: app, Project: project, Clusters: clusters, Content: desired.Digest(tc.content)}, &c)
			if len(c.plan.Entries) != 1 || c.plan.Entries["eu"].Digest() != tc.want.Digest() || c.waits != tc.waits || !c.plan.Keep {
				t.Errorf("waits %v, entries %+v", c.waits, c.plan.Entries)
			}
		})
	}
}

// Without its project nothing is read of the clusters. That they are not known is
// no reason to have them forget the application.
func TestAFrozenApplicationWithoutItsProjectIsLeftOnItsClusters(t *testing.T) {
	app := application(2, time.Now())
	app.Status.Clusters, app.Status.Withdrawing = []string{"eu"}, []string{"us"}
	r := &Intent{Book: desired.NewBook(func(string) {}), Now: time.Now}
	told := desired.Entry{Key: desired.Key{Project: "demo", Application: "web"}, UID: string(app.UID), Content: desired.Sum([]byte("before"))}
	r.Book.Set(told.Key, map[string]desired.Entry{"eu": told})
	state := assign.State{App: app}
	c := course{plan: assign.Make(state), frozen: &rollout.Frozen{Scope: "everything"}}
	r.keep(app, state, &c)
	if len(c.plan.Entries) != 2 || c.plan.Entries["eu"].Content != told.Content || !c.plan.Entries["us"].Hold {
		t.Errorf("%+v", c.plan.Entries)
	}
}
