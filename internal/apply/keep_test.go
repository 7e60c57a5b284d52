package apply

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/syncoption"
)

// carrying is a ConfigMap with one annotation.
func carrying(name, annotation, value string) string {
	return annotated(configMap(name, "k", "1"), annotation+": "+value)
}

func keptProblem(s report.State) string {
	for _, p := range s.Problems {
		if p.Reason == report.Kept {
			return p.Message
		}
	}
	return ""
}

func TestWhatItsAnnotationsKeepStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pruned := carrying("pruned", "argocd.argoproj.io/sync-options", "'Validate=true, Prune=false'")
	base := configMap("base", "k", "1")
	w.deploy("shop", base+configMap("goes", "k", "1")+pruned+carrying("chart", "helm.sh/resource-policy", "keep")+carrying("ours", "atoll.dev/prune", "disabled"), deleting)
	w.synced("shop")
	w.deploy("shop", base)
	s := w.state("shop", "in sync, with three kept", func(s report.State) bool {
		return s.Sync == report.InSync && strings.Contains(keptProblem(s), "3 objects")
	})
	if !s.Well() || s.Objects != 1 {
		t.Errorf("what stays counts: %s", describeState(s))
	}
	w.eventually("the plain one goes", func() bool { return !w.exists(configs, "goes") })

	// The next agent knows it from the inventory, and a person may delete it.
	w.halt()
	w.start()
	w.state("shop", "three kept after a restart", func(s report.State) bool { return strings.Contains(keptProblem(s), "3 objects") })
	w.deleteObject(configs, "chart")
	w.state("shop", "two kept", func(s report.State) bool { return strings.Contains(keptProblem(s), "2 objects") })
	diff, err := w.engine.Preview(t.Context(), w.key("shop"))
	if err != nil || len(diff) > 0 {
		t.Errorf("a sync would do %v: %v", diff, err)
	}

	// What comes back is taken up again.
	w.deploy("shop", base+strings.Replace(pruned, `k: "1"`, `k: "2"`, 1))
	w.state("shop", "one kept", func(s report.State) bool {
		return s.Sync == report.InSync && strings.Contains(keptProblem(s), "ours")
	})
	if got := field(w.get(configs, "pruned"), "data", "k"); got != "2" {
		t.Errorf("pruned has k=%s", got)
	}

	// Where the object lives, somebody may want it to stay too.
	w.edit(configs, "base", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/prune":"disabled"}}}`)
	w.change("shop", withdrawing)
	s = w.state("shop", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
	if w.exists(configs, "pruned") || !w.exists(configs, "base") || !w.exists(configs, "ours") {
		t.Errorf("pruned, which is kept from pruning alone, is there: %v; base: %v; ours: %v", w.exists(configs, "pruned"), w.exists(configs, "base"), w.exists(configs, "ours"))
	}
	if !strings.Contains(s.Message, "base") || !strings.Contains(s.Message, "ours") {
		t.Errorf("what stays is not told: %s", s.Message)
	}
}

// An inventory of an agent that knew nothing of this says nothing of it.
func TestAnOlderInventoryLearnsWhatStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("shop", configMap("base", "k", "1")+carrying("data", "helm.sh/resource-policy", "keep"))
	w.synced("shop")
	w.halt()
	saved, err := w.memory.LoadInventories(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inv, err := decodeInventory(saved[w.key("shop")])
	if err != nil {
		t.Fatal(err)
	}
	for i := range inv.Records {
		inv.Records[i].Keep = 0
	}
	data, err := inv.encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.memory.SaveInventories(t.Context(), map[desired.Key][]byte{w.key("shop"): data}); err != nil {
		t.Fatal(err)
	}
	w.deploy("shop", configMap("base", "k", "2")) // the next agent never sees the former content
	w.start()
	w.state("shop", "one kept", func(s report.State) bool { return s.Sync == report.InSync && keptProblem(s) != "" })
	if !w.exists(configs, "data") {
		t.Error("it was deleted")
	}
}

func TestFieldsThatAManifestLeavesToOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ignoring := carrying("settings", "atoll.dev/ignore", `"data.k, metadata.annotations[example.com/x]"`)
	w.deploy("shop", ignoring+configMap("other", "k", "1"))
	w.synced("shop")
	if got := field(w.get(configs, "settings"), "data", "k"); got != "1" {
		t.Fatalf("made with k=%q", got)
	}
	w.edit(configs, "settings", `{"data":{"k":"theirs"}}`)
	w.edit(configs, "other", `{"data":{"k":"theirs"}}`)
	w.eventually("the other is corrected", func() bool { return field(w.get(configs, "other"), "data", "k") == "1" })
	w.deploy("shop", strings.Replace(ignoring, `k: "1"`, `k: "2"`, 1)+configMap("other", "k", "2"))
	w.synced("shop")
	if got := field(w.get(configs, "settings"), "data", "k"); got != "theirs" {
		t.Errorf("k=%q was taken from its owner", got)
	}
	w.deploy("shop", configMap("settings", "k", "3")+configMap("other", "k", "2"))
	w.eventually("it is ours again", func() bool { return field(w.get(configs, "settings"), "data", "k") == "3" })
}

// What came back without the annotation is kept no more when it goes again, and a
// preview says so, even while no delivery gets through and nothing is decided on it.
func TestWhatStayedOnceStaysNoMore(t *testing.T) {
	w := newOrder(t)
	base, data := thing(schema.GroupKind{Kind: "ConfigMap"}, "base", phase.Mark{Phase: phase.Sync}), thing(schema.GroupKind{Kind: "ConfigMap"}, "data", phase.Mark{Phase: phase.Sync})
	data.options.Keep = syncoption.WhenPruned
	en := w.deliver("web", "one", 1, rendering{objects: []rendered{base, data}})
	o := en.objects[data.id]
	for id, each := range en.objects {
		each.rec, each.seen = &record{ID: id, UID: "u", Accepted: 1, Keep: each.options.Keep}, true
	}
	w.attemptAll(en)
	w.attemptAll(w.deliver("web", "two", 2, rendering{objects: []rendered{base}}))
	if !o.kept() {
		t.Fatal("it does not stay")
	}
	data.options.Keep, base.hash = 0, 2 // which is not applied from now on
	w.deliver("web", "three", 3, rendering{objects: []rendered{base, data}})
	w.deliver("web", "four", 4, rendering{objects: []rendered{base}})
	_, changes, err := w.previewJobs(en.want.Key)
	if err != nil || len(changes) != 1 || changes[0].Action != ActionDelete || o.kept() {
		t.Errorf("a sync would do %v: %v", changes, err)
	}
}

// What stays is never deleted, nor what it lives in or by, and what is not kept is
// decided as if that were not there.
func TestPrunePlansSpareWhatStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := pruneInput{Entry: desired.Entry{Policy: desired.Policy{DeletionBudget: 10, OnDelete: v1alpha1.Delete}}, Wanted: map[ID]bool{{Kind: "Service", Name: "w"}: true}, Claimed: map[ID]bool{}, Kept: map[ID]bool{}}
		in.Entry.Withdrawn = rapid.Bool().Draw(t, "withdrawn")
		for _, id := range []ID{
			{Kind: "ConfigMap", Namespace: "n", Name: "a"}, {Kind: "ConfigMap", Namespace: "m", Name: "a"}, {Kind: "Namespace", Name: "n"}, {Kind: "Namespace", Name: "m"},
			{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "boats.example.com"}, {Group: "example.com", Kind: "Boat", Namespace: "x", Name: "b"},
		} {
			if rapid.Bool().Draw(t, "owned") {
				in.Owned = append(in.Owned, victim{ID: id, UID: "u"})
				in.Kept[id] = rapid.Bool().Draw(t, "kept")
			}
		}
		in.Entry.AllowDeletion = planPrune(in).Progress.Digest
		plan := planPrune(in)
		for _, v := range plan.Delete {
			for kept := range in.Kept {
				if in.Kept[kept] && (v.ID == kept || v.ID.bears(kept)) {
					t.Fatalf("%s is deleted, though %s stays", v.ID, kept)
				}
			}
		}
		if told := len(plan.Delete) + len(plan.Kept) + len(plan.Held) + len(plan.Release); told != len(in.Owned) {
			t.Fatalf("%d of %d are decided", told, len(in.Owned))
		}
		for _, v := range plan.Kept {
			if !in.Kept[v.ID] && !slices.ContainsFunc(plan.Kept, func(k victim) bool { return v.ID.bears(k.ID) }) {
				t.Fatalf("%s stays for no reason", v.ID)
			}
		}
	})
}
