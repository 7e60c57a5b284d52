package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/report"
)

// create is the first touch of an object. It does not force, so what exists
// and isn't ours stays as it is; Adopt and a handed-over object are exceptions.
func (e *Engine) create(ctx context.Context, j job) outcome {
	force := j.want.Policy.Adopt || j.heirOf != ""
	if out, stop := e.leftAlone(ctx, j); stop {
		return out
	}
	body, gaveUp, err := j.body(nil)
	if err != nil {
		return outcome{err: err}
	}
	if len(j.object.giveUp) > 0 {
		// A scaler may run already: then its fields must not be reset.
		switch live, err := e.clients.get(ctx, j.target); {
		case err == nil:
			if out, stop := e.handOver(ctx, j, live); stop {
				return out
			}
			if body, gaveUp, err = j.body(j.object.giveUp); err != nil {
				return outcome{err: err}
			}
		case !apierrors.IsNotFound(err):
			return e.failed(ctx, j, err)
		}
	}
	obj, err := e.clients.apply(ctx, j.target, body, j.manager, force)
	if conflicts(err) && !force {
		return e.conflict(ctx, j, err)
	}
	if err != nil {
		return e.failed(ctx, j, err)
	}
	if out, stop := e.givenBack(ctx, j, obj); stop {
		return out
	}
	if j.heirOf != "" {
		e.retire(ctx, j)
	}
	return e.settled(ctx, j, obj, gaveUp)
}

// conflict looks whether the object is ours after all: then it was created
// before its record was kept.
func (e *Engine) conflict(ctx context.Context, j job, cause error) outcome {
	live, err := e.clients.get(ctx, j.target)
	if err != nil {
		return e.failed(ctx, j, err)
	}
	if drift.EntryHashOf(live.Object, j.manager) == 0 || !j.mayForce {
		return outcome{problem: cmp.Or(elsewhere(j, live), conflictProblem(j, cause))}
	}
	body, gaveUp, err := j.body(j.object.giveUp)
	if err != nil {
		return outcome{err: err}
	}
	obj, err := e.clients.apply(ctx, j.target, body, j.manager, true)
	if err != nil {
		return e.failed(ctx, j, err)
	}
	return e.settled(ctx, j, obj, gaveUp)
}

// retire ends the former owner's hold on a handed-over object, and with it the
// fields that only it wanted.
func (e *Engine) retire(ctx context.Context, j job) {
	empty, err := json.Marshal(identityOf(j.target))
	if err == nil {
		_, err = e.clients.apply(ctx, j.target, empty, j.heirOf, false)
	}
	if err != nil {
		// The object is as wanted; a leftover owner only keeps stale fields.
		e.log.Warn("a former owner could not be retired", "object", j.target.id.String(), "manager", j.heirOf, "error", err)
	}
}

// recreate makes an object again that someone deleted. What only vanished from
// a watch is applied without force: where it is gone that makes it, where just
// its label went that brings the label back, and where more was changed the
// conflict says so. Reading it first would cost every deletion a round trip.
func (e *Engine) recreate(ctx context.Context, j job) outcome {
	body, gaveUp, err := j.body(nil)
	if err != nil {
		return outcome{err: err}
	}
	obj, err := e.clients.apply(ctx, j.target, body, j.manager, j.object.missing)
	if conflicts(err) && j.object.vanished {
		return e.look(ctx, j)
	}
	if err != nil {
		return e.failed(ctx, j, err)
	}
	out := e.settled(ctx, j, obj, gaveUp)
	switch {
	case out.rec == nil, j.object.remade:
	case out.rec.UID != j.object.rec.UID:
		// Who deleted it, and when, is written nowhere: this is when it was found.
		out.changes = []report.Change{{Object: j.object.ref, New: report.Deleted, At: report.Time(e.clock()), Corrected: true}}
	case j.object.vanished:
		return e.unlabelled(j, obj, out)
	}
	return out
}

// unlabelled records that someone took the label by which the watch finds the
// object, which is back in obj.
func (e *Engine) unlabelled(j job, obj *unstructured.Unstructured, out outcome) outcome {
	before := obj.DeepCopy()
	unstructured.RemoveNestedField(before.Object, "metadata", "labels", partOfLabel)
	changes, err := drift.Compare(j.object.rec.Baseline, before, j.manager, j.object.giveUp)
	if err != nil {
		e.log.Error("what was changed cannot be told: the baseline is unreadable", "object", j.target.id.String(), "error", err)
	}
	out.changes = described(&j.object, j.manifest(), changes, true)
	return out
}

// deliver applies another content to an object of ours. In Report mode, and
// while correction is paused, fields that someone changed stay as they are.
func (e *Engine) deliver(ctx context.Context, j job) outcome {
	if j.object.rec.GivenUp != j.object.giveUpHash && len(j.object.giveUp) > 0 {
		live, err := e.clients.get(ctx, j.target)
		if apierrors.IsNotFound(err) {
			return outcome{absent: true}
		}
		if err != nil {
			return e.failed(ctx, j, err)
		}
		if out, stop := e.handOver(ctx, j, live); stop {
			return out
		}
	}
	leave, left := j.object.giveUp, []drift.Change(nil)
	if !j.mayForce && len(j.object.drift) > 0 {
		left = drift.Unlike(j.object.drift, j.manifest())
		leave = append(append(drift.Paths{}, leave...), drift.PathsOf(left)...)
	}
	body, gaveUp, err := j.body(leave)
	if err != nil {
		return outcome{err: err}
	}
	obj, err := e.clients.apply(ctx, j.target, body, j.manager, j.mayForce)
	if conflicts(err) {
		return e.undeliverable(ctx, j, err)
	}
	if err != nil {
		return e.failed(ctx, j, err)
	}
	out := e.settled(ctx, j, obj, gaveUp)
	if out.rec != nil && len(left) > 0 {
		// The fields that were left keep their baseline, so they stay reported.
		out.rec.Baseline, err = out.rec.Baseline.Keeping(j.object.rec.Baseline, left)
		if err != nil {
			return outcome{err: err}
		}
	}
	return out
}

// undeliverable is a delivery that met a field it may not take back now.
func (e *Engine) undeliverable(ctx context.Context, j job, cause error) outcome {
	out := e.look(ctx, j)
	if out.err == nil && out.problem == nil {
		out.problem = conflictProblem(j, cause)
	}
	return out
}

// correct forces back what someone else changed.
func (e *Engine) correct(ctx context.Context, j job) outcome {
	if j.object.additions {
		if out, stop := e.removeAdditions(ctx, j); stop {
			return out
		}
	}
	body, gaveUp, err := j.body(j.object.giveUp)
	if err != nil {
		return outcome{err: err}
	}
	obj, err := e.clients.apply(ctx, j.target, body, j.manager, true)
	if err != nil {
		return e.failed(ctx, j, err)
	}
	out := e.settled(ctx, j, obj, gaveUp)
	changes := j.object.drift
	if j.object.replaced && len(changes) == 0 {
		changes = []drift.Change{{Gone: true}}
	}
	out.changes = append(out.changes, described(&j.object, j.manifest(), changes, true)...)
	return out
}

// removeAdditions takes out what others put into exact maps and lists.
func (e *Engine) removeAdditions(ctx context.Context, j job) (outcome, bool) {
	live, err := e.clients.get(ctx, j.target)
	if err != nil {
		return e.failed(ctx, j, err), true
	}
	found, err := drift.Additions(live, j.manager, j.object.exact, j.object.giveUp)
	if err != nil {
		return outcome{err: err}, true
	}
	if len(found) == 0 {
		return outcome{}, false
	}
	patch, err := json.Marshal(drift.RemovalPatch(live, found))
	if err != nil {
		return outcome{err: err}, true
	}
	obj, err := e.clients.jsonPatch(ctx, j.target, patch, j.manager)
	if err != nil {
		return e.failed(ctx, j, err), true
	}
	var changes []drift.Change
	for _, a := range found {
		changes = append(changes, a.Change)
	}
	out := e.settled(ctx, j, obj, j.object.rec.GivenUp)
	out.changes = described(&j.object, nil, changes, true)
	return out, len(j.object.drift) == 0
}

// handOver lets another manager hold the live values of the fields that are
// given up, so that the API server does not reset them when we let go.
func (e *Engine) handOver(ctx context.Context, j job, live *unstructured.Unstructured) (outcome, bool) {
	held, err := drift.Held(live.GetManagedFields(), j.manager, j.object.giveUp)
	if err != nil {
		return outcome{err: err}, true
	}
	if held.Empty() {
		return outcome{}, false
	}
	partial := drift.Only(live.Object, held)
	for k, v := range identityOf(j.target) {
		if k != "metadata" {
			partial[k] = v
			continue
		}
		metadata, _ := partial[k].(map[string]any)
		if metadata == nil {
			metadata = map[string]any{}
		}
		for name, value := range v.(map[string]any) {
			metadata[name] = value
		}
		partial[k] = metadata
	}
	body, err := json.Marshal(partial)
	if err != nil {
		return outcome{err: err}, true
	}
	if _, err := e.clients.apply(ctx, j.target, body, handoverManager, true); err != nil {
		return e.failed(ctx, j, err), true
	}
	return outcome{}, false
}

// settled turns the response to an apply into what is recorded of it.
func (e *Engine) settled(ctx context.Context, j job, obj *unstructured.Unstructured, gaveUp uint64) outcome {
	baseline, err := drift.Take(obj, j.manager, j.object.giveUp)
	if err != nil {
		return outcome{err: err}
	}
	if j.target.id.GroupKind() == crdKind {
		if err := e.established(ctx, j.target); err != nil {
			return outcome{err: err}
		}
	}
	s := sighting{meta: obj, full: obj.Object, entry: baseline.Entry}
	return outcome{seen: &s, rec: &record{
		ID: j.target.id, Version: j.target.kind.gvk.Version, UID: string(obj.GetUID()),
		Accepted: j.object.want, GivenUp: gaveUp, Baseline: baseline, Keep: j.object.options.Keep,
	}}
}

// look reads the object and judges it like an event of its watch.
func (e *Engine) look(ctx context.Context, j job) outcome {
	live, err := e.clients.get(ctx, j.target)
	switch {
	case apierrors.IsNotFound(err):
		return outcome{absent: true}
	case err != nil:
		return e.failed(ctx, j, err)
	}
	s := sightingOf(live, j.manager)
	return outcome{seen: &s}
}

// remove deletes exactly the recorded object, and never what has a controller:
// that would only fight it. What stands on the object counts too: it may have been
// applied and not recorded, and where the object lives somebody may want it to stay.
func (e *Engine) remove(ctx context.Context, j job) outcome {
	live, err := e.clients.get(ctx, j.target)
	switch {
	case apierrors.IsNotFound(err):
		return outcome{absent: true}
	case err != nil:
		return e.failed(ctx, j, err)
	case string(live.GetUID()) != j.object.rec.UID, controlled(live):
		return outcome{foreign: true}
	case live.GetDeletionTimestamp() != nil:
		return outcome{deleted: true}
	}
	if kept, stays := j.keptLive(live.Object); stays && j.step == remove {
		return outcome{kept: kept}
	}
	switch err := e.clients.delete(ctx, j.target, live.GetUID()); {
	case apierrors.IsNotFound(err):
		return outcome{absent: true}
	case apierrors.IsConflict(err):
		return outcome{err: err} // it may have been replaced since: the next look tells
	case err != nil:
		return e.failed(ctx, j, err)
	}
	return outcome{deleted: true}
}

func controlled(obj *unstructured.Unstructured) bool {
	for _, o := range obj.GetOwnerReferences() {
		if o.Controller != nil && *o.Controller {
			return true
		}
	}
	return false
}

// body is what is sent: the rendered manifest without the fields in leave, and
// the hash of the fields that are given up in it.
func (j job) body(leave drift.Paths) ([]byte, uint64, error) {
	if len(leave) == 0 && j.object.body != nil {
		return j.object.body, 0, nil
	}
	obj, err := renderOne(j.object.source, j.want, j.target.kind, j.values)
	if err != nil {
		return nil, 0, fmt.Errorf("render %s: %w", j.target.id, err)
	}
	var gaveUp uint64
	if len(leave) > 0 {
		drift.Without(obj.Object, leave)
		gaveUp = j.object.giveUpHash
	}
	body, err := json.Marshal(obj.Object)
	if err != nil {
		return nil, 0, fmt.Errorf("encode %s: %w", j.target.id, err)
	}
	return body, gaveUp, nil
}

// manifest is the rendered object, for the values that drift replaced.
func (j job) manifest() map[string]any {
	obj, err := renderOne(j.object.source, j.want, j.target.kind, j.values)
	if err != nil {
		return nil
	}
	return obj.Object
}

func identityOf(t target) map[string]any {
	metadata := map[string]any{"name": t.id.Name}
	if t.kind.namespaced {
		metadata["namespace"] = t.id.Namespace
	}
	return map[string]any{"apiVersion": t.kind.gvk.GroupVersion().String(), "kind": t.kind.gvk.Kind, "metadata": metadata}
}
