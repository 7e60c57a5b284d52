package apply

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
)

// order is an engine that reaches no member: what it decides is looked at, and
// what would become of it is told by hand.
type order struct {
	*Engine
	t *testing.T
}

func newOrder(t *testing.T) order {
	t.Helper()
	e, err := New(&rest.Config{Host: "https://127.0.0.1:1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end() // no watch begins
	e.ctx = ended
	t.Cleanup(e.queue.Close)
	t.Cleanup(func() { // what is to be tried again later finds nothing
		e.mu.Lock()
		defer e.mu.Unlock()
		clear(e.entries)
	})
	return order{Engine: e, t: t}
}

var jobID = schema.GroupKind{Group: "batch", Kind: "Job"}

// thing is an object of a content, with a mark.
func thing(gk schema.GroupKind, name string, mark phase.Mark) rendered {
	id := ID{Group: gk.Group, Kind: gk.Kind, Namespace: "shop", Name: name}
	return rendered{id: id, ref: id.Ref("v1"), source: &content.Object{}, hash: 1, mark: mark}
}

// deliver has the engine take a content of one application.
func (w order) deliver(app, digest string, generation int64, r rendering) *entry {
	w.t.Helper()
	want := desired.Entry{Key: desired.Key{Project: "shop", Application: app}, UID: app, Generation: generation, Content: desired.Digest(digest)}
	en, ok := w.entries[want.Key]
	if !ok {
		en = w.enter(want)
	}
	en.renew(want, want.Digest())
	if r.unmapped == nil {
		r.unmapped = map[ID]report.ObjectRef{}
	}
	w.take(en, r, entryRules{})
	return en
}

// attemptAll has every object that is due attempted.
func (w order) attemptAll(en *entry) {
	for again := true; again; {
		again = false
		for _, o := range en.objects {
			if o.wanted() && !o.attempted && o.stage <= en.stage {
				w.attempted(o)
				again = true
			}
		}
	}
	w.advance(en)
}

// succeedWith has a hook succeed for the content that is delivered.
func (w order) succeedWith(en *entry, name string) {
	for id, o := range en.objects {
		if id.Name == name {
			en.runs[id] = en.runs[id].begin(id, en.named)
			en.runs[id].Stage, en.runs[id].UID = runMade, "u"
			w.end(o, phase.Succeeded, "")
		}
	}
	w.attemptAll(en)
}

func (en *entry) stepOf(name string) step {
	for id, o := range en.objects {
		if id.Name == name && !o.later() {
			return o.due(o.firstSeen)
		}
	}
	return idle
}

func hookMark(p phase.Phase, on phase.Occasion) phase.Mark {
	return phase.Mark{Phase: p, Hook: true, Occasion: on, Deletion: phase.Deletion{BeforeCreation: true}}
}

// A migration that is for upgrades has nothing to do with what was installed, be
// the agent begun anew or the application edited.
func TestAHookForUpgradesDoesNotRunForWhatWasInstalled(t *testing.T) {
	w := newOrder(t)
	charts := func() rendering {
		return rendering{objects: []rendered{thing(jobID, "install", hookMark(phase.PreSync, phase.FirstDelivery)), thing(jobID, "upgrade", hookMark(phase.PreSync, phase.LaterDeliveries))}}
	}
	en := w.deliver("web", "one", 1, charts())
	if en.stepOf("install") != launch || en.stepOf("upgrade") != idle {
		t.Fatalf("at first: %v, %v", en.stepOf("install"), en.stepOf("upgrade"))
	}
	w.succeedWith(en, "install")
	if !en.finished || en.installing {
		t.Fatal("the delivery is not finished")
	}
	en = w.deliver("web", "one", 2, charts())
	if s := en.stepOf("upgrade"); s != idle {
		t.Errorf("after an edit the upgrade is due: %v", s)
	}
	data, err := en.inventory().encode()
	if err != nil {
		t.Fatal(err)
	}
	again := newOrder(t)
	again.saved = again.decode(map[desired.Key][]byte{en.want.Key: data})
	en = again.deliver("web", "one", 2, charts())
	if en.stepOf("upgrade") != idle || en.stepOf("install") != idle {
		t.Error("an agent that begins anew runs hooks")
	}
	en = again.deliver("web", "two", 3, charts())
	if en.stepOf("upgrade") != launch || en.stepOf("install") != idle {
		t.Error("the upgrade does not run for another content")
	}
}

// What another application owns here was not delivered, least of all run.
func TestAStepWaitsForWhatAnotherApplicationOwns(t *testing.T) {
	w := newOrder(t)
	w.deliver("first", "one", 1, rendering{objects: []rendered{thing(jobID, "migrate", phase.Mark{Phase: phase.Sync})}})
	en := w.deliver("web", "one", 1, rendering{objects: []rendered{
		thing(jobID, "migrate", hookMark(phase.PreSync, phase.Always)), thing(jobID, "web", phase.Mark{Phase: phase.Sync}),
	}})
	w.attemptAll(en)
	if len(en.waiting) != 1 || en.stage != 0 || en.stepOf("web") != idle {
		t.Errorf("stage %d, and web is due for %v", en.stage, en.stepOf("web"))
	}
}

// A kind that is missing holds up what needs it, and a definition comes before
// what is of it whatever the order says: else neither would come.
func TestAMissingKindHoldsUpOnlyWhatNeedsIt(t *testing.T) {
	w := newOrder(t)
	ledger := ID{Group: "example.com", Kind: "Ledger", Namespace: "shop", Name: "one"}
	crd := thing(crdKind, "ledgers.example.com", phase.Mark{Phase: phase.Sync})
	crd.id.Namespace = ""
	r := func(of phase.Mark) rendering {
		return rendering{
			objects:  []rendered{crd, thing(jobID, "migrate", hookMark(phase.PreSync, phase.Always))},
			unmapped: map[ID]report.ObjectRef{ledger: ledger.Ref("v1")}, unmappedMarks: map[ID]phase.Mark{ledger: of},
		}
	}
	en := w.deliver("web", "one", 1, r(hookMark(phase.PreSync, phase.Always)))
	if en.stepOf(crd.id.Name) != create {
		t.Errorf("the definition waits for what needs it")
	}
	skipped := hookMark(phase.PreSync, phase.Always)
	skipped.LeftOut = "is to be skipped"
	for name, mark := range map[string]phase.Mark{"left out": skipped, "for the first delivery": hookMark(phase.PreSync, phase.FirstDelivery)} {
		w := newOrder(t)
		key := desired.Key{Project: "shop", Application: "web"}
		w.saved = map[desired.Key]inventory{key: {UID: "web", Records: []record{{ID: ID{Kind: "ConfigMap", Name: "former"}}}}}
		if en := w.deliver("web", "one", 1, r(mark)); len(en.unmapped) > 0 || en.lacking() {
			t.Errorf("%s: %v", name, en.unmapped)
		}
	}
}

// What waits for another application deletes nothing meanwhile either.
func TestDeletionsWaitForWhatIsDependedOn(t *testing.T) {
	w := newOrder(t)
	db := w.deliver("db", "one", 1, rendering{objects: []rendered{thing(jobID, "db", phase.Mark{Phase: phase.Sync})}})
	key := desired.Key{Project: "shop", Application: "web"}
	former := ID{Kind: "ConfigMap", Namespace: "shop", Name: "former"}
	w.saved = map[desired.Key]inventory{key: {UID: "web", Records: []record{{ID: former, UID: "u", Version: "v1"}}}}
	want := desired.Entry{Key: key, UID: "web", Content: "two", After: []string{db.want.Key.Application}, Policy: desired.Policy{DeletionBudget: 10}}
	en := w.enter(want)
	en.renew(want, want.Digest())
	w.take(en, rendering{unmapped: map[ID]report.ObjectRef{}}, entryRules{})
	if en.stage != barred || en.objects[former].remove || en.heldWhy != "" {
		t.Errorf("stage %d, %+v, %s", en.stage, en.objects[former], en.heldWhy)
	}
	if s := w.summarize(en, w.clock()); s.Sync != report.Progressing {
		t.Errorf("it is said to be %s: %s", s.Sync, s.Message)
	}
}

// A cluster that is chosen again at once, after everything there was let go of, is
// one that nothing was ever delivered to.
func TestWhatWasLetGoOfBeginsAnew(t *testing.T) {
	w := newOrder(t)
	r := func() rendering {
		return rendering{objects: []rendered{thing(jobID, "migrate", hookMark(phase.PreSync, phase.Always))}}
	}
	en := w.deliver("web", "one", 1, r())
	w.succeedWith(en, "migrate")
	gone := en.want
	gone.Withdrawn = true
	en.renew(gone, gone.Digest())
	w.withdraw(en)
	if !en.gone {
		t.Fatal("it is not gone")
	}
	en = w.deliver("web", "one", 1, r())
	if en.gone || en.stepOf("migrate") != launch || !en.installing {
		t.Errorf("gone %v, installing %v, and the hook is due for %v", en.gone, en.installing, en.stepOf("migrate"))
	}
}

// TestWhatAnEarlierContentMadeGoesAsItsPolicySays is about the object that stands
// in the place of a hook that is about to run.
func TestWhatAnEarlierContentMadeGoesAsItsPolicySays(t *testing.T) {
	const manager = "atoll/shop/web"
	job1 := func(condition string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "batch/v1", "kind": "Job"}}
		u.SetUID("u")
		u.SetAnnotations(map[string]string{v1alpha1.AnnotationRunFor: "one"})
		if condition != "" {
			u.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": condition, "status": "True"}}}
		}
		return u
	}
	onSuccess := phase.Deletion{Succeeded: true}
	for _, c := range []struct {
		name         string
		live         *unstructured.Unstructured
		policy       phase.Deletion
		forbidden    bool
		stays, later bool
	}{
		{"it runs, and goes before the next", job1(""), phase.Deletion{BeforeCreation: true}, false, false, false},
		{"it runs, and goes when it has succeeded", job1(""), onSuccess, false, false, true},
		{"it has succeeded since", job1("Complete"), onSuccess, false, false, false},
		{"it has failed", job1("Failed"), onSuccess, false, true, false},
		{"the member forbids deletions", job1("Complete"), onSuccess, true, true, false},
	} {
		j := job{manager: manager, mayNotDelete: c.forbidden, object: object{hook: &phase.Mark{Hook: true, Deletion: c.policy}}}
		if why, later := j.keeps(c.live); (why != "") != c.stays || later != c.later {
			t.Errorf("%s: %q, later %v", c.name, why, later)
		}
	}
	ours := job1("")
	if (job{manager: manager}).made(ours) {
		t.Error("an annotation alone makes it ours")
	}
	ours.Object["metadata"].(map[string]any)["managedFields"] = []any{map[string]any{
		"manager": manager, "operation": "Apply", "apiVersion": "batch/v1", "fieldsType": "FieldsV1", "fieldsV1": map[string]any{"f:spec": map[string]any{}},
	}}
	if !(job{manager: manager}).made(ours) {
		t.Error("what an agent made before it died is not recognised")
	}
	if (job{manager: manager, object: object{rec: &record{UID: "another"}}}).made(ours) {
		t.Error("what stands in the place of what was recorded is taken for it")
	}
}

// A volume, a namespace and a definition are deleted when a person names them, and
// not because a hook is done.
func TestNoHookTakesAVolumeAway(t *testing.T) {
	w := newOrder(t)
	mark := hookMark(phase.PreSync, phase.Always)
	mark.Deletion = phase.Deletion{Succeeded: true}
	claim := thing(claimKind, "data", mark)
	en := w.deliver("web", "one", 1, rendering{objects: []rendered{claim, thing(jobID, "once", mark)}})
	w.succeedWith(en, "data")
	w.succeedWith(en, "once")
	if !en.finished || en.stepOf("once") != discard || en.stepOf("data") != idle {
		t.Errorf("finished %v, the job %v, the volume %v", en.finished, en.stepOf("once"), en.stepOf("data"))
	}
}

// TestARunIsTakenUpWhenItsContentComesBack has a rollback come while a hook runs,
// and then the same content again: nobody looked meanwhile how it ended.
func TestARunIsTakenUpWhenItsContentComesBack(t *testing.T) {
	mark := hookMark(phase.PreSync, phase.Always)
	with := func() rendering { return rendering{objects: []rendered{thing(jobID, "migrate", mark)}} }
	for name, c := range map[string]struct {
		before rendering
		want   step
	}{
		"the hook is of both contents":                      {with(), check},
		"it is of one alone, and was deleted with the rest": {rendering{}, launch},
	} {
		w := newOrder(t)
		en := w.deliver("web", "one", 1, c.before)
		if len(c.before.objects) > 0 {
			w.succeedWith(en, "migrate")
		}
		en = w.deliver("web", "two", 2, with())
		id := with().objects[0].id
		en.runs[id] = en.runs[id].begin(id, en.named)
		en.runs[id].Stage, en.runs[id].UID = runMade, "u"
		en = w.deliver("web", "one", 3, c.before)
		if o := en.objects[id]; !o.wanted() {
			w.drop(en, id) // as when it is deleted
		}
		en = w.deliver("web", "two", 4, with())
		if s := en.stepOf("migrate"); s != c.want {
			t.Errorf("%s: it is due for %v, want %v", name, s, c.want)
		}
	}
}

// A claim is often bound by the first pod that uses it, which comes in a later
// step, be the claim a hook, as in charts, or kept.
func TestNoStepWaitsForAClaimToBeBound(t *testing.T) {
	w := newOrder(t)
	ahead, hook := phase.Mark{Phase: phase.Sync, Wave: -1}, hookMark(phase.PreSync, phase.Always)
	en := w.deliver("web", "one", 1, rendering{objects: []rendered{
		thing(claimKind, "data", ahead), thing(claimKind, "scratch", hook), thing(jobID, "web", phase.Mark{Phase: phase.Sync}),
	}})
	pending := verdict{health: report.HealthProgressing, message: "not bound"}
	scratch, data := en.objects[ID{Kind: claimKind.Kind, Namespace: "shop", Name: "scratch"}], en.objects[ID{Kind: claimKind.Kind, Namespace: "shop", Name: "data"}]
	en.runs[scratch.id] = en.runs[scratch.id].begin(scratch.id, en.named)
	en.runs[scratch.id].Stage, en.runs[scratch.id].UID = runMade, "u"
	live := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": claimKind.Kind, "status": map[string]any{"phase": "Pending"}}}
	live.SetUID("u")
	w.observe(scratch, sightingOf(live, ""))
	w.attemptAll(en)
	data.rec, data.seen, data.health = &record{ID: data.id, UID: "v", Accepted: data.want}, true, pending
	w.attemptAll(en)
	if en.stage != 2 {
		t.Errorf("stage %d waits for %s", en.stage, w.waitsFor(en))
	}
	data.health = verdict{health: report.HealthDegraded, message: "lost its volume"}
	if data.ready() {
		t.Error("a claim that lost its volume holds nothing back")
	}
}
