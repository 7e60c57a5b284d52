package apply

import (
	"errors"
	"fmt"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// ErrUnknownEntry means that the member runs no such application.
var ErrUnknownEntry = errors.New("the cluster runs no such application")

// View is one object of an entry as the engine sees it.
type View struct {
	Ref     report.ObjectRef
	UID     string
	Sync    report.Sync
	Health  report.Health
	Message string
}

// View lists the objects of an entry, in the order they are applied.
func (e *Engine) View(key desired.Key) ([]View, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	en, ok := e.entries[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, ErrUnknownEntry)
	}
	views := make([]View, 0, len(en.objects)+len(en.waiting)+len(en.unmapped))
	for _, id := range sortedIDs(en.objects) {
		if o := en.objects[id]; o.hook == nil || !o.silent() {
			views = append(views, e.viewOf(o))
		}
	}
	for _, ref := range en.waiting {
		views = append(views, View{Ref: ref, Sync: report.Held, Health: report.HealthUnknown, Message: "another application owns it"})
	}
	for _, ref := range en.unmapped {
		sync := report.Failed
		if settling(en.unmappedSince, e.clock()) {
			sync = report.Progressing
		}
		views = append(views, View{Ref: ref, Sync: sync, Health: report.HealthUnknown, Message: "the member does not serve this kind"})
	}
	return views, nil
}

func (e *Engine) viewOf(o *object) View {
	if o.hook != nil {
		return e.viewOfHook(o)
	}
	v := View{Ref: o.ref, UID: o.uid, Sync: report.Progressing, Health: report.HealthUnknown, Message: o.condition().message}
	switch {
	case o.fails(e.clock()):
		v.Sync, v.Message = report.Failed, o.problem.Reason+": "+o.problem.Message+o.tried()
	case o.blocked != "":
		v.Sync, v.Message = report.Failed, "Forbidden: "+o.blocked
	case o.kept():
		v.Sync, v.Message = report.InSync, "no longer asked for; it stays, as its annotations say"
	case !o.wanted() && !o.remove:
		v.Sync, v.Message = report.Held, "no longer asked for; its deletion is held"
	case !o.wanted():
		v.Message = "being deleted"
	case o.drifted() && !o.corrects(e.clock()):
		v.Sync = report.Drifted
	case o.applied():
		v.Sync = report.InSync
	case o.problem != nil:
		v.Message = "trying again: " + o.problem.Reason + ": " + o.problem.Message
	}
	if o.applied() {
		v.Health = o.condition().health
	}
	return v
}

// viewOfHook is how a hook's run went.
func (e *Engine) viewOfHook(o *object) View {
	v := View{Ref: o.ref, UID: o.uid, Sync: report.Progressing, Health: report.HealthUnknown, Message: "has not begun"}
	switch stage := o.ran(); {
	case stage == runSucceeded:
		v.Sync, v.Health, v.Message = report.InSync, report.HealthHealthy, "has run"
	case stage == runFailed:
		v.Sync, v.Health, v.Message = report.Failed, report.HealthDegraded, o.failure()+": "+o.entry.runs[o.id].Why
	case o.fails(e.clock()):
		v.Sync, v.Message = report.Failed, o.problem.Reason+": "+o.problem.Message
	case o.blocked != "":
		v.Sync, v.Message = report.Failed, "Forbidden: "+o.blocked
	case stage == runMade:
		v.Health, v.Message = o.condition().health, o.condition().message
	}
	return v
}
