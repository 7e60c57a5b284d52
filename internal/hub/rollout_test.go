package hub

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
)

// trio is an application on three clusters whose changes travel one by one.
type trio struct {
	*bench
	project string
	key     desired.Key
	members []*member
}

func newTrio(b *bench, project string, rules *v1alpha1.Rollout) *trio {
	b.Helper()
	b.project(project)
	s := &trio{bench: b, project: project, key: desired.Key{Project: project, Application: "shop"}}
	for i := range 3 {
		s.members = append(s.members, b.joined(fmt.Sprintf("%s-%d", project, i+1), map[string]string{"test": project}))
	}
	for _, m := range s.members {
		b.eventually("its link", func() error {
			if state := b.cluster(m.name).Status.Connection.State; state != v1alpha1.Connected {
				return fmt.Errorf("%s is %s", m.name, state)
			}
			return nil
		})
	}
	b.deploy(project, "shop", "test="+project, v1alpha1.Orphan)
	for _, m := range s.members {
		m.until("the first version", func(r desired.Root) bool { _, ok := r.Get(s.key); return ok })
		m.reports(s.key, report.InSync, report.HealthHealthy)
	}
	b.eventually("in sync and healthy", func() error { return synced(b.app(project, "shop")) })
	s.edit(func(app *v1alpha1.Application) { app.Spec.Rollout = rules })
	return s
}

func (s *trio) edit(change func(*v1alpha1.Application)) {
	s.Helper()
	app := s.app(s.project, "shop")
	patch := client.MergeFrom(app.DeepCopy())
	change(app)
	s.must(s.client.Patch(s.Context(), app, patch))
}

func (s *trio) release(content string) string {
	s.Helper()
	s.edit(func(app *v1alpha1.Application) { app.Spec.Source.Inline = fmt.Sprintf(manifest, content) })
	var revision string
	s.eventually("its revision", func() error {
		app := s.app(s.project, "shop")
		if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted); c == nil || c.ObservedGeneration != app.Generation {
			return fmt.Errorf("accepted is %+v", c)
		}
		revision = app.Status.Revision
		return nil
	})
	return revision
}

// runs answers for a cluster: it is asked for the revision, and says how it is.
func (s *trio) runs(i int, revision string, health report.Health) {
	s.Helper()
	m := s.members[i]
	m.until(revision, func(r desired.Root) bool { e, _ := r.Get(s.key); return e.Revision == revision })
	m.reports(s.key, report.InSync, health)
}

func (s *trio) run(name string, phase v1alpha1.RolloutPhase) *v1alpha1.RolloutRun {
	s.Helper()
	run := &v1alpha1.RolloutRun{}
	s.eventually(fmt.Sprintf("rollout %s is %s", name, phase), func() error {
		if err := s.client.Get(s.Context(), client.ObjectKey{Namespace: s.project, Name: name}, run); err != nil {
			return err
		}
		if run.Status.Phase != phase {
			return fmt.Errorf("it is %+v", run.Status)
		}
		return nil
	})
	return run
}

func (s *trio) asked(i int) string {
	e, _ := s.members[i].root.Get(s.key)
	return e.Revision
}

func attended(rows []fleet.Attention, subject string, phase v1alpha1.RolloutPhase) error {
	if slices.ContainsFunc(rows, func(a fleet.Attention) bool { return a.Subject == subject && a.Reason == string(phase) }) {
		return nil
	}
	return fmt.Errorf("%s is not there as %s: %+v", subject, phase, rows)
}

func TestAChangeTravelsWaveByWaveAndIsTakenBackWhenAClusterFails(t *testing.T) {
	one, two := int32(1), int32(2)
	answers := make(chan struct{})
	metrics := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-answers
		if r.FormValue("query") != `errors{cluster="waves-1"}` {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"0.001"]}}`)
	}))
	defer metrics.Close()
	gates := []v1alpha1.Gate{
		{Name: "known", CEL: "report.assumed == 0 && cluster.labels['test'] == 'waves'"},
		{Name: "errors", CEL: "value < 0.01", Prometheus: &v1alpha1.PrometheusQuery{URL: metrics.URL, Query: `errors{cluster="${cluster}"}`}},
	}
	s := newTrio(hubOf(t), "waves", &v1alpha1.Rollout{
		OnFailure: v1alpha1.Rollback, Waves: []v1alpha1.Wave{{Count: &one, Gates: gates}, {Count: &two, Approval: true}},
	})
	first := s.asked(0)
	good := s.release("good")
	s.runs(0, good, report.HealthProgressing)
	s.run("shop-1", v1alpha1.RolloutProgressing)
	s.runs(0, good, report.HealthHealthy)
	s.eventually("the wave waits for its gate", func() error {
		run := s.run("shop-1", v1alpha1.RolloutProgressing)
		if !strings.Contains(run.Status.Message, "gate errors on waves-1: its metric is being asked for") {
			return errors.New(run.Status.Message)
		}
		return nil
	})
	close(answers)
	waiting := s.run("shop-1", v1alpha1.RolloutWaiting)
	s.eventually("the application says that it waits", func() error {
		app := s.app("waves", "shop")
		if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionReady); c.Reason != string(v1alpha1.RolloutWaiting) || app.Status.Rollout != "shop-1" {
			return fmt.Errorf("%+v, rollout %s", c, app.Status.Rollout)
		}
		return nil
	})
	s.eventually("the overview asks for a decision", func() error {
		o, err := s.fleet.Overview(t.Context())
		return errors.Join(err, attended(o.Decisions, "waves/shop", v1alpha1.RolloutWaiting))
	})
	for _, i := range []int{1, 2} {
		if got := s.asked(i); got != first {
			t.Fatalf("cluster %d is asked for %s before its turn", i+1, got)
		}
	}
	patch := client.MergeFrom(waiting.DeepCopy())
	waiting.Spec.Control.Promoted = 2
	s.must(s.client.Patch(t.Context(), waiting, patch))
	s.runs(1, good, report.HealthHealthy)
	s.runs(2, good, report.HealthHealthy)
	s.run("shop-1", v1alpha1.RolloutComplete)
	s.eventually("in sync and healthy", func() error { return synced(s.app("waves", "shop")) })

	// The next one fails on the canary: the fleet is taken back by itself.
	bad := s.release("bad")
	s.runs(0, bad, report.HealthDegraded)
	s.runs(0, good, report.HealthHealthy)
	run := s.run("shop-2", v1alpha1.RolloutRolledBack)
	if run.Status.Started != 1 || len(run.Status.Failed) != 1 || run.Status.Failed[0] != "waves-1" {
		t.Errorf("the run says %+v", run.Status)
	}
	for _, i := range []int{1, 2} {
		if got := s.asked(i); got != good {
			t.Errorf("cluster %d was asked for %s", i+1, got)
		}
	}
	s.eventually("the application is not ready: what it asks for was taken back", func() error {
		if c := meta.FindStatusCondition(s.app("waves", "shop").Status.Conditions, v1alpha1.ConditionReady); c.Reason != string(v1alpha1.RolloutRolledBack) {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})

	o, err := s.fleet.Overview(t.Context())
	s.must(err)
	s.must(attended(o.Failing, "waves/shop", v1alpha1.RolloutRolledBack))
	s.alerts(alert.RolloutRolledBack, "waves/shop")
	s.certified("waves-1")

	if err := s.client.Delete(t.Context(), run.DeepCopy()); !apierrors.IsForbidden(err) {
		t.Errorf("the record of who was told what is deleted: %v", err)
	}
	// What a rollout did is not to be written over.
	patch = client.MergeFrom(run.DeepCopy())
	run.Spec.Plan.Target.Digest = string(desired.Sum(nil))
	if err := s.client.Patch(t.Context(), run, patch); err == nil {
		t.Error("the plan of a rollout was changed")
	}
}

func TestAPinHoldsAnApplicationWhateverItsSourceSays(t *testing.T) {
	s := newTrio(hubOf(t), "pins", nil)
	first := s.asked(0)
	second := s.release("second")
	for i := range s.members {
		s.runs(i, second, report.HealthHealthy)
	}
	pin := func(pins ...v1alpha1.Pin) { s.edit(func(app *v1alpha1.Application) { app.Spec.Pins = pins }) }

	pin(v1alpha1.Pin{Revision: first, Clusters: []string{"pins-2"}, Reason: "it crashes there"})
	s.runs(1, first, report.HealthHealthy)
	third := s.release("third")
	s.runs(0, third, report.HealthHealthy)
	s.runs(2, third, report.HealthHealthy)
	if got := s.asked(1); got != first {
		t.Errorf("the pinned cluster is asked for %s", got)
	}

	// For all: also while the source is something new, which is recorded.
	pin(v1alpha1.Pin{Revision: second, Reason: "orders fail", By: "anna"})
	for i := range s.members {
		s.runs(i, second, report.HealthHealthy)
	}
	s.edit(func(app *v1alpha1.Application) { app.Spec.Source.Inline = fmt.Sprintf(manifest, "fourth") })
	s.eventually("it says so", func() error {
		app := s.app("pins", "shop")
		c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted)
		if c.ObservedGeneration != app.Generation || c.Reason != "Pinned" || app.Status.Revision != second {
			return fmt.Errorf("%+v, revision %s", c, app.Status.Revision)
		}
		return nil
	})
	pin()
	for i := range s.members {
		s.members[i].until("the source's own", func(r desired.Root) bool {
			e, _ := r.Get(s.key)
			return e.Revision != first && e.Revision != second && e.Revision != third
		})
	}

	// A pin to nothing changes nothing, and says what to do.
	fourth := s.asked(0)
	s.eventually("it is recorded", func() error {
		if is := s.app("pins", "shop").Status.Revision; is != fourth {
			return fmt.Errorf("it is %s", is)
		}
		return nil
	})
	s.edit(func(app *v1alpha1.Application) {
		app.Spec.Pins = []v1alpha1.Pin{{Revision: "shop-000000000000", Reason: "a typo"}}
		app.Spec.Source.Inline = fmt.Sprintf(manifest, "fifth")
	})
	s.eventually("it says so", func() error {
		app := s.app("pins", "shop")
		c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionAccepted)
		if c.ObservedGeneration != app.Generation || c.Status != "False" || !strings.Contains(c.Message, "atoll unpin app/shop") {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	s.edit(func(app *v1alpha1.Application) { app.Spec.Drift.Mode = v1alpha1.DriftReport }) // all hear of it
	s.members[0].until("the later edit", func(r desired.Root) bool {
		e, _ := r.Get(s.key)
		return e.Policy.DriftMode == v1alpha1.DriftReport
	})
	if got := s.asked(0); got != fourth {
		t.Errorf("pinned to what is not there, it is asked for %s, not for %s as before", got, fourth)
	}
}

func TestARolloutOfAFormerApplicationOfTheNameIsNotItsOwn(t *testing.T) {
	one := int32(1)
	s := newTrio(hubOf(t), "heirs", &v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: &one}}})
	former := &v1alpha1.RolloutRun{ObjectMeta: metav1.ObjectMeta{
		Namespace: "heirs", Name: "shop-1", Labels: map[string]string{v1alpha1.LabelApplication: "shop"},
	}}
	former.Spec.Plan = v1alpha1.RolloutPlan{
		Application: "shop", Number: 1, Target: v1alpha1.Version{Digest: string(desired.Sum([]byte("of the former")))},
		Waves: []v1alpha1.RolloutWave{{Clusters: []string{"heirs-1"}}}, OnFailure: v1alpha1.Halt,
	}
	s.create(former)
	first, good := s.asked(0), s.release("good")
	s.runs(0, good, report.HealthProgressing)
	run := s.run("shop-2", v1alpha1.RolloutProgressing)
	if !metav1.IsControlledBy(run, s.app("heirs", "shop")) {
		t.Errorf("it is owned by %+v", run.OwnerReferences)
	}
	if got := s.asked(1); got != first {
		t.Errorf("cluster 2 is asked for %s before its turn", got)
	}

	// A slip in the selector leaves no cluster: that brings the run to no end, and
	// those that come back are not told before their turn.
	place := func(selector string) {
		s.edit(func(app *v1alpha1.Application) { app.Spec.Placement.Clusters = selector })
		s.eventually("placement "+selector, func() error {
			app := s.app("heirs", "shop")
			if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionPlaced); c.ObservedGeneration != app.Generation {
				return fmt.Errorf("%+v", c)
			}
			return nil
		})
	}
	place("test=hiers")
	s.members[1].until("it left", func(r desired.Root) bool { _, ok := r.Get(s.key); return !ok })
	place("test=heirs")
	s.members[1].until("it is back", func(r desired.Root) bool { _, ok := r.Get(s.key); return ok })
	if got := s.asked(1); got != first {
		t.Errorf("cluster 2 is asked for %s before its turn", got)
	}
	s.run("shop-2", v1alpha1.RolloutProgressing)
}

func TestAFrozenApplicationIsToldNothingNewUntilTheThaw(t *testing.T) {
	one, two := int32(1), int32(2)
	s := newTrio(hubOf(t), "frost", &v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: &one}, {Count: &two}}})
	first := s.asked(0)
	freeze := func(change func(*v1alpha1.Project)) {
		project := &v1alpha1.Project{}
		s.must(s.client.Get(t.Context(), client.ObjectKey{Name: "frost"}, project))
		patch := client.MergeFrom(project.DeepCopy())
		change(project)
		s.must(s.client.Patch(t.Context(), project, patch))
	}
	frozen := func(want bool) {
		s.eventually("its condition", func() error {
			app := s.app("frost", "shop")
			if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionFrozen); (c != nil) != want {
				return fmt.Errorf("%+v", c)
			}
			return nil
		})
	}
	// A change that is under way stops where it is.
	good := s.release("good")
	s.runs(0, good, report.HealthHealthy)
	s.runs(1, good, report.HealthProgressing)
	freeze(func(p *v1alpha1.Project) { p.Spec.Freeze = &v1alpha1.Freeze{Reason: "audit", By: "anna"} })
	frozen(true)
	s.run("shop-1", v1alpha1.RolloutPaused)
	s.members[1].reports(s.key, report.InSync, report.HealthDegraded)

	// A newer one, a wider placement and a deletion are taken in, and reach nobody.
	s.edit(func(app *v1alpha1.Application) {
		app.Spec.Source.Inline, app.Spec.OnDelete = fmt.Sprintf(manifest, "newer"), v1alpha1.Delete
		app.Spec.Placement.Clusters = "test=nowhere"
	})
	s.eventually("it says that a change waits", func() error {
		app := s.app("frost", "shop")
		c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionRolledOut)
		ready := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Reason != v1alpha1.ConditionFrozen || c.ObservedGeneration != app.Generation || ready.Reason != v1alpha1.ConditionFrozen {
			return fmt.Errorf("%+v, ready %+v", c, ready)
		}
		return nil
	})
	if err := s.client.Delete(t.Context(), s.app("frost", "shop")); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "atoll thaw project/frost") {
		t.Errorf("it is deleted: %v", err)
	}
	o, err := s.fleet.Overview(t.Context())
	s.must(err)
	if i := slices.IndexFunc(o.Frozen, func(a fleet.Attention) bool { return a.Subject == "project/frost" }); i < 0 || !strings.Contains(o.Frozen[i].Message, "wait: 1") {
		t.Errorf("the overview says %+v", o.Frozen)
	}
	chain, err := s.fleet.Explain(t.Context(), "frost", "shop", "")
	s.must(err)
	if l := chain.Links[0]; l.Stage != "Freeze" || l.Outcome != "Waiting" || l.Do != "atoll thaw project/frost" {
		t.Errorf("it is explained by %+v", l)
	}
	for i, want := range []string{good, good, first} {
		s.members[i].until("what it was told before the freeze", func(r desired.Root) bool { e, _ := r.Get(s.key); return e.Revision == want && !e.Withdrawn })
	}

	// After the thaw all of it counts.
	s.edit(func(app *v1alpha1.Application) {
		app.Spec.OnDelete, app.Spec.Placement.Clusters = v1alpha1.Orphan, "test=frost"
	})
	freeze(func(p *v1alpha1.Project) { p.Spec.Freeze = nil })
	frozen(false)
	s.members[0].until("the newer one", func(r desired.Root) bool { e, _ := r.Get(s.key); return e.Revision != good && e.Revision != first })

	// The freeze of everything is seen without any edit, and holds new ones back.
	everything := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.FreezeName}, Data: map[string]string{"reason": "sales"}}
	s.create(everything)
	frozen(true)
	s.must(s.client.Delete(t.Context(), everything))
	frozen(false)
}
