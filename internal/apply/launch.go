package apply

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
)

// launch makes the object of a hook, after what an earlier content made was
// deleted. Where an earlier life of the agent made it and did not come to record
// that, the object itself says for which content it was made.
func (e *Engine) launch(ctx context.Context, j job) outcome {
	failed, err := e.begin(ctx, j)
	if err != nil {
		return outcome{err: err}
	}
	live, err := e.clients.get(ctx, j.target)
	switch {
	case apierrors.IsNotFound(err):
		return e.make(ctx, j)
	case err != nil:
		return e.failed(ctx, j, err)
	case madeFor(live, j) && string(live.GetUID()) != failed:
		return e.settled(ctx, j, live, 0)
	case live.GetDeletionTimestamp() != nil:
		return outcome{goes: true}
	case needsConfirmation(j.target.id):
		// A run is no person who names it: it is applied again as it stands.
		return e.make(ctx, j)
	case !j.made(live):
		return outcome{problem: hookProblem(j, "Conflict", "it exists already and was not made for an earlier content; delete it, or give the hook another name")}
	}
	switch why, later := j.keeps(live); {
	case later:
		return outcome{goes: true}
	case why != "":
		return outcome{problem: hookProblem(j, "Conflict", "what was made for an earlier content is still there: "+why)}
	}
	if err := e.clients.delete(ctx, j.target, live.GetUID()); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return e.failed(ctx, j, err)
	}
	return outcome{goes: true}
}

func madeFor(live *unstructured.Unstructured, j job) bool {
	return live.GetAnnotations()[v1alpha1.AnnotationRunFor] == string(j.want.Content) && drift.EntryHashOf(live.Object, j.manager) != 0
}

// made tells that a former content made the object: it is as recorded, or says so
// itself where an agent died before it recorded that.
func (j job) made(live *unstructured.Unstructured) bool {
	if rec := j.object.rec; rec != nil {
		return rec.UID == string(live.GetUID())
	}
	return live.GetAnnotations()[v1alpha1.AnnotationRunFor] != "" && drift.EntryHashOf(live.Object, j.manager) != 0 && !controlled(live)
}

// keeps says why what an earlier content made may not be deleted, or that it may
// be later: when it has ended as its policy asks.
func (j job) keeps(live *unstructured.Unstructured) (why string, later bool) {
	policy := j.object.hook.Deletion
	end, _ := phase.EndOf(live.Object, true)
	switch {
	case j.mayNotDelete:
		return fmt.Sprintf("the member forbids deletions (ConfigMap %s in %s); delete it there", limitsName, systemNamespace), false
	case policy.BeforeCreation, policy.Succeeded && end == phase.Succeeded, policy.Failed && end == phase.Failed:
		return "", false
	case end == phase.Running:
		return "", true
	}
	return "its delete policy keeps it; delete it, or add BeforeHookCreation to the policy", false
}

func hookProblem(j job, reason, message string) *report.Problem {
	return &report.Problem{Object: j.object.ref, Reason: reason, Message: message}
}

// begin stores that the hook runs now, before anything of it is made. Where it runs
// once more for the same content, it returns the UID of what failed.
func (e *Engine) begin(ctx context.Context, j job) (failed string, err error) {
	e.mu.Lock()
	en, ok := e.entries[j.want.Key]
	if !ok || en.named != j.want.Content {
		e.mu.Unlock()
		return "", fmt.Errorf("begin %s: the application changed meanwhile", j.target.id)
	}
	if r := en.runs[j.target.id]; r.of(j.want.Content) == 0 {
		en.runs[j.target.id] = r.begin(j.target.id, j.want.Content)
		e.unsaved[j.want.Key] = true
	}
	failed = en.runs[j.target.id].Failed
	e.mu.Unlock()
	if err := e.saveOnce(ctx); err != nil {
		return "", fmt.Errorf("record that %s begins: %w", j.target.id, err)
	}
	return failed, nil
}

// make creates the object, which says for which content.
func (e *Engine) make(ctx context.Context, j job) outcome {
	obj, err := renderOne(j.object.source, j.want, j.target.kind, j.values)
	if err != nil {
		return outcome{err: fmt.Errorf("render %s: %w", j.target.id, err)}
	}
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.AnnotationRunFor] = string(j.want.Content)
	obj.SetAnnotations(annotations)
	body, err := json.Marshal(obj.Object)
	if err != nil {
		return outcome{err: fmt.Errorf("encode %s: %w", j.target.id, err)}
	}
	made, err := e.clients.apply(ctx, j.target, body, j.manager, false)
	if conflicts(err) {
		return outcome{problem: conflictProblem(j, err)}
	}
	if err != nil {
		return e.failed(ctx, j, err)
	}
	return e.settled(ctx, j, made, 0)
}

// discard deletes the object of a hook that has ended, after that is stored.
func (e *Engine) discard(ctx context.Context, j job) outcome {
	if err := e.saveOnce(ctx); err != nil {
		return outcome{err: fmt.Errorf("record that %s ended: %w", j.target.id, err)}
	}
	if j.object.rec == nil {
		return outcome{discarded: true}
	}
	out := e.remove(ctx, j)
	if out.err != nil || out.problem != nil {
		return out
	}
	return outcome{discarded: true}
}

// recordHook takes over what launch and discard did; e.mu is held. It reports
// whether that is all there is to record.
func (e *Engine) recordHook(o *object, j job, out outcome) bool {
	en := o.entry
	switch {
	case out.goes:
		o.succeed()
		e.lookLater(o)
		return true
	case out.discarded:
		o.succeed()
		if r := en.runs[o.id]; r != nil {
			r.Gone = true
		}
		o.rec = nil
		e.unsaved[en.want.Key] = true
		e.wakeSave()
		return true
	case out.rec != nil:
		r := en.runs[o.id]
		if r.of(j.want.Content) != runBegun {
			return false
		}
		r.Stage, r.UID = runMade, out.rec.UID
		o.firstSeen = e.clock()
	case out.absent:
		e.hookMissing(o)
	}
	return false
}

// inherit takes an object that was delivered before it counted as a hook for one
// that has run: it was applied just as it is asked for.
func (en *entry) inherit(o *object) {
	if o.rec == nil || o.rec.Accepted != o.want || en.runs[o.id] != nil {
		return
	}
	en.runs[o.id] = &run{ID: o.id, Content: en.want.Content, Stage: runMade, UID: o.rec.UID}
	o.recheck = true
}

// trimRuns keeps the runs of what is asked for no more, for a rollback, but not
// without end.
func (en *entry) trimRuns() {
	const most = 256
	for id := range en.runs {
		if len(en.runs) <= most {
			return
		}
		if o, ok := en.objects[id]; !ok || !o.wanted() {
			delete(en.runs, id)
		}
	}
}

// awaits is what to say of an object that is waited for.
func (o *object) awaits() string {
	if message := o.condition().message; message != "" && (o.hook == nil && o.applied() || o.hook != nil && o.ran() == runMade) {
		return ": " + message
	}
	return ""
}

// past tells that a phase is over.
func (en *entry) past(p phase.Phase) bool {
	return en.stage >= 0 && en.stage < len(en.steps) && en.steps[en.stage].Phase > p || en.finished
}
