package apply

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
)

// remembered is what an agent has stored at one moment.
type remembered struct {
	inventories map[desired.Key][]byte
	entries     map[desired.Key]desired.Entry
}

// remember stores what the engine knows, and halts it.
func (w *world) remember() remembered {
	w.t.Helper()
	w.halt()
	kept, err := w.memory.LoadInventories(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return remembered{inventories: maps.Clone(kept), entries: maps.Clone(w.entries)}
}

// wake starts an engine that knows no more than m, and whose hub is away.
func (w *world) wake(m remembered) {
	w.t.Helper()
	w.halt()
	w.memory = &Volatile{kept: maps.Clone(m.inventories)}
	w.entries, w.alone = map[desired.Key]desired.Entry{}, true
	maps.Copy(w.entries, m.entries)
	w.start()
}

// hear is the hub's word: just what it asks for now.
func (w *world) hear(entries map[desired.Key]desired.Entry) {
	w.t.Helper()
	w.entries, w.alone = maps.Clone(entries), false
	w.sync()
}

// lacks makes a content one that is still on its way, and returns what lets it
// arrive.
func (w *world) lacks(d desired.Digest) (arrive func()) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	bundle := w.bundles[d]
	delete(w.bundles, d)
	return func() {
		w.mu.Lock()
		w.bundles[d] = bundle
		w.mu.Unlock()
		w.sync()
	}
}

func overtaken(s report.State) bool {
	return strings.Contains(s.Message, "newer than what the agent had stored")
}

// TestNothingGoesBackOnTheStrengthOfMemory is an agent that applied more than it
// could store: its store was full, or it died before it wrote.
func TestNothingGoesBackOnTheStrengthOfMemory(t *testing.T) {
	for name, forget := range map[string]func(old *remembered, now remembered){
		"it stored an older inventory": func(*remembered, remembered) {},
		"it stored none":               func(old *remembered, _ remembered) { old.inventories = nil },
		"it stored the newest":         func(old *remembered, now remembered) { old.inventories = now.inventories },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("shop", configMap("settings", "color", "blue")+deployment("web", "shop/web:1.0", 1))
			w.synced("shop")
			old := w.remember()
			w.start()
			w.deploy("shop", configMap("settings", "color", "red", "size", "xl")+deployment("web", "shop/web:2.0", 1))
			w.synced("shop")
			asked := maps.Clone(w.entries)
			forget(&old, w.remember())
			before := w.get(deployments, "web").GetGeneration()

			w.wake(old)
			w.state("shop", "left as it is", overtaken)
			if got := field(w.get(configs, "settings"), "data", "color"); got != "red" {
				t.Errorf("it went back to %q, and nobody had asked", got)
			}
			arrive := w.lacks(asked[w.key("shop")].Content)
			w.hear(asked)
			w.problem("shop", "ContentMissing")
			if got := field(w.get(configs, "settings"), "data", "color"); got != "red" {
				t.Errorf("it went back to %q while what the hub asks for was on its way", got)
			}
			arrive()
			w.synced("shop")
			if got := field(w.get(configs, "settings"), "data", "color"); got != "red" || w.get(deployments, "web").GetGeneration() != before {
				t.Errorf("color %q, generation %d instead of %d", got, w.get(deployments, "web").GetGeneration(), before)
			}

			w.wake(old)
			w.state("shop", "left as it is", overtaken)
			w.hear(old.entries) // which asks to go back
			w.synced("shop")
			if got := field(w.get(configs, "settings"), "data", "color"); got != "blue" {
				t.Errorf("the hub asked for blue: color %q", got)
			}
		})
	}
}

// TestNothingGoesBackThatWasAppliedTwiceInASecond: the record of who applied what
// has whole seconds, and by it alone the second apply looks like the first. What
// was stored asks for something in between.
func TestNothingGoesBackThatWasAppliedTwiceInASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	applied := func(color string) string {
		w.deploy("shop", configMap("settings", "color", color))
		w.synced("shop")
		fields, _ := json.Marshal(w.get(configs, "settings").GetManagedFields())
		return string(fields)
	}
	var old remembered
	w.eventually("two applies come within a second", func() bool {
		first := applied("blue")
		old = w.remember()
		w.start()
		return applied("red") == first
	})
	e := old.entries[w.key("shop")]
	e.Generation, e.Content = e.Generation+1, w.store(configMap("settings", "color", "green"))
	old.entries[w.key("shop")] = e
	w.wake(old)
	w.state("shop", "left as it is", overtaken)
	if got := field(w.get(configs, "settings"), "data", "color"); got != "red" {
		t.Errorf("it went back to %q, and nobody had asked", got)
	}
}

func TestWhatMemoryCannotTellStaysAsItIsUntilTheHubSpeaks(t *testing.T) {
	w := newOrder(t)
	r := rendering{objects: []rendered{thing(jobID, "a", phase.Mark{})}}
	en := w.deliver("shop", "one", 1, r)
	w.recalled = map[desired.Key]bool{en.want.Key: true}
	en.overtaken = true // as an object's weight told
	w.take(en, r, entryRules{})
	if !en.overtaken {
		t.Error("another look at the same memory lets it go back")
	}
	delete(w.recalled, en.want.Key)
	w.take(en, r, entryRules{})
	if en.overtaken {
		t.Error("the hub has spoken, and is not heard")
	}
}

// TestWhatIsNewerThanMemoryGoesWithItsApplication: the hub's word that an
// application goes counts for an agent too that left it as it was because it
// could not tell what was wanted.
func TestWhatIsNewerThanMemoryGoesWithItsApplication(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "1")+configMap("b", "k", "1"), deleting)
	w.synced("shop")
	old := w.remember()
	w.start()
	w.deploy("shop", configMap("a", "k", "2", "more", "x")+configMap("b", "k", "2", "more", "x"), deleting)
	w.synced("shop")
	asked := maps.Clone(w.entries)
	w.wake(old)
	w.state("shop", "left as it is", overtaken)
	for key, e := range asked {
		withdrawing(&e)
		asked[key] = e
	}
	w.hear(asked)
	w.state("shop", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
	w.eventually("its objects are gone", func() bool { return !w.exists(configs, "a") && !w.exists(configs, "b") })
}

// TestAnAgentAloneFinishesWhatItHadStored: what it had applied of it already is
// no reason to wait for the hub, nor is what others changed meanwhile.
func TestAnAgentAloneFinishesWhatItHadStored(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "1")+configMap("b", "k", "1"))
	w.synced("shop")
	old := w.remember()
	w.start()
	w.deploy("shop", configMap("a", "k", "2")+configMap("b", "k", "2"))
	w.synced("shop")
	w.halt()
	w.edit(configs, "b", `{"data":{"k":"3"}}`)
	w.wake(remembered{inventories: old.inventories, entries: w.entries})
	w.synced("shop")
	if a, b := field(w.get(configs, "a"), "data", "k"), field(w.get(configs, "b"), "data", "k"); a != "2" || b != "2" {
		t.Errorf("a is %s and b is %s", a, b)
	}
}

func TestNothingIsDeletedOnTheStrengthOfMemory(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "v")+configMap("b", "k", "v"), deleting)
	w.deploy("other", configMap("c", "k", "v")+configMap("d", "k", "v"), deleting)
	w.synced("shop")
	w.synced("other")
	returned := w.remember()
	gone := remembered{inventories: returned.inventories, entries: maps.Clone(returned.entries)}
	for key, e := range gone.entries { // stored, before the hub took it back
		if key == w.key("shop") {
			withdrawing(&e)
		} else {
			e.Content = w.store(configMap("c", "k", "v"))
		}
		gone.entries[key] = e
	}
	w.wake(gone)
	w.synced("other")
	w.state("shop", "waiting", func(s report.State) bool { return s.Sync == report.Progressing })
	w.hear(returned.entries)
	w.synced("shop")
	w.synced("other")
	for _, name := range []string{"a", "b", "c", "d"} {
		if !w.exists(configs, name) {
			t.Errorf("%s was deleted", name)
		}
	}
	w.wake(gone)
	w.hear(gone.entries)
	w.state("shop", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
	w.eventually("what is not asked for any more is gone", func() bool { return !w.exists(configs, "a") && !w.exists(configs, "d") })
}
