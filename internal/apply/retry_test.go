package apply

import (
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// TestAnObjectWithoutAttemptsWaitsForAPerson: it is not tried again by itself, its
// problem says so, and a forced sync or another intent has it tried anew.
func TestAnObjectWithoutAttemptsWaitsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownNamespace()
	w.create(configs, map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "settings"}, "data": map[string]any{"color": "red"}})
	once := func(e *desired.Entry) {
		limit := int32(1)
		e.Policy.Retry = &desired.Retry{Limit: &limit, First: 100 * time.Millisecond, Factor: 1, Most: 100 * time.Millisecond}
	}
	w.deploy("shop", configMap("settings", "color", "blue")+configMap("fine", "k", "v"), once)
	spent := func(what string) {
		t.Helper()
		s := w.state("shop", what, func(s report.State) bool {
			p := find(s, "Conflict")
			return p != nil && s.Applied == 1 && strings.Contains(p.Message, "tried 2 times, and by spec.sync.retry not again")
		})
		if s.Sync != report.Failed {
			t.Error(describeState(s))
		}
		id := ID{Kind: "ConfigMap", Namespace: w.project, Name: "settings"}
		w.engine.queue.mu.Lock()
		defer w.engine.queue.mu.Unlock()
		if _, again := w.engine.queue.timers[task{object: id}]; again {
			t.Error("it is to be tried again")
		}
	}
	spent("out of attempts")
	w.change("shop", func(e *desired.Entry) { e.Generation++ })
	spent("tried anew, and out of attempts again")
	w.deleteObject(configs, "settings")
	if err := w.engine.SyncNow(w.key("shop")); err != nil {
		t.Fatal(err)
	}
	w.synced("shop")
	if got := field(w.get(configs, "settings"), "data", "color"); got != "blue" {
		t.Errorf("color=%s", got)
	}
}
