package apply

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
)

// What is told of an entry is computed when something of it changes. These change
// it from elsewhere.

// TestThatAPauseHasEndedIsTold where there is nothing to put right.
func TestThatAPauseHasEndedIsTold(t *testing.T) {
	w := newOrder(t)
	o := w.toGo("shop")
	en := o.entry
	o.remake, o.rec.Accepted, o.health = false, o.want, verdict{health: report.HealthHealthy}
	now := time.Now()
	w.Engine.clock = func() time.Time { return now }
	o.pause = drift.Pause{Until: now.Add(time.Hour)}
	w.syncObject(t.Context(), o.id)
	en.stale = true
	if s := w.stateOf(en); s.Message != "correction is paused for 1 objects" {
		t.Fatal(s.Message)
	}
	now = now.Add(time.Hour)
	w.syncObject(t.Context(), o.id)
	if s := w.stateOf(en); s.Message != "" {
		t.Errorf("the pause is over: %s", s.Message)
	}
}

// TestWhoWaitsForAnObjectSaysWhoOwnsItNow, be it handed over to a third.
func TestWhoWaitsForAnObjectSaysWhoOwnsItNow(t *testing.T) {
	w := newOrder(t)
	with := func() rendering { return rendering{objects: []rendered{thing(settingsKind, "settings", phase.Mark{})}} }
	w.deliver("first", "one", 1, with())
	waiting := w.deliver("waiting", "one", 1, with())
	if s := w.stateOf(waiting); !strings.Contains(s.Message, "app/first owns it") {
		t.Fatal(s.Message)
	}
	w.deliver("first", "two", 2, rendering{})
	w.stateOf(waiting)
	w.deliver("third", "one", 1, with())
	if s := w.stateOf(waiting); !strings.Contains(s.Message, "app/third owns it") {
		t.Error(s.Message)
	}
}

// full is a store that takes nothing.
type full struct {
	Volatile
	during func()
}

func (f *full) SaveInventories(context.Context, map[desired.Key][]byte) error {
	f.during()
	return errors.New("no space left")
}

// TestAStoreThatStaysFullStaysTold, also of what was looked at while it was tried.
func TestAStoreThatStaysFullStaysTold(t *testing.T) {
	w := newOrder(t)
	en := w.toGo("shop").entry
	told := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.stateOf(en).Problems, func(p report.Problem) bool { return p.Reason == "StoreFull" })
	}
	store := &full{during: func() {}}
	w.Engine.memory = store
	w.unsaved[en.want.Key] = true
	if err := w.saveOnce(t.Context()); err == nil || !told() {
		t.Fatalf("not told: %v", err)
	}
	store.during = func() {
		w.mu.Lock()
		en.stale = true
		w.mu.Unlock()
		told()
	}
	if err := w.saveOnce(t.Context()); err == nil || !told() {
		t.Errorf("told no more: %v", err)
	}
}
