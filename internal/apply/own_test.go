package apply

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

func deleting(e *desired.Entry)    { e.Policy.OnDelete = v1alpha1.Delete }
func withdrawing(e *desired.Entry) { e.Withdrawn = true }

func existing(name, color string) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": map[string]any{"color": color}}
}

func TestWhatIsNotOursIsAConflictUntilAdopted(t *testing.T) {
	w := newWorld(t)
	w.ownNamespace()
	made := w.create(configs, existing("settings", "red"))
	w.deploy("shop", configMap("settings", "color", "blue")+configMap("other", "k", "v"))
	p := w.problem("shop", "Conflict")
	if !strings.Contains(p.Message, "data.color") || !strings.Contains(p.Message, "person") {
		t.Errorf("the conflict names neither field nor holder: %s", p.Message)
	}
	w.eventually("the other object is applied", func() bool { return w.exists(configs, "other") })
	if got := field(w.get(configs, "settings"), "data", "color"); got != "red" {
		t.Errorf("it was overwritten with %q", got)
	}
	w.change("shop", adopting)
	w.synced("shop")
	obj := w.get(configs, "settings")
	if field(obj, "data", "color") != "blue" || obj.GetUID() != made.GetUID() {
		t.Error("adopting did not take the object over in place")
	}
}

func TestAdoptingAnEqualDeploymentRestartsNothing(t *testing.T) {
	w := newWorld(t)
	w.ownNamespace()
	w.applyRaw(deployments, "web", deployment("web", "shop/web:1.0", 1))
	before := w.get(deployments, "web")
	w.deploy("shop", deployment("web", "shop/web:1.0", 1), adopting)
	w.synced("shop")
	if after := w.get(deployments, "web"); after.GetGeneration() != before.GetGeneration() || after.GetUID() != before.GetUID() {
		t.Error("adopting changed the spec")
	}
}

func TestTwoApplicationsThatRenderOneObject(t *testing.T) {
	w := newWorld(t)
	w.deploy("first", configMap("settings", "color", "blue"))
	w.synced("first")
	w.deploy("second", configMap("settings", "color", "red", "extra", "x")+configMap("own", "k", "v"))
	p := w.problem("second", "OwnedBy")
	if !strings.Contains(p.Message, "app/first") {
		t.Errorf("the owner is not named: %s", p.Message)
	}
	w.state("second", "Held", func(s report.State) bool { return s.Sync == report.Held && s.Applied == 1 })
	w.halt() // a restart does not change who owns it
	w.start()
	w.state("second", "Held", func(s report.State) bool { return s.Sync == report.Held && s.Applied == 1 })
	w.synced("first")
	uid := w.get(configs, "settings").GetUID()
	// The owner lets go of it: it is handed over, never deleted in between.
	w.deploy("first", configMap("another", "k", "v"))
	w.synced("second")
	w.synced("first")
	obj := w.get(configs, "settings")
	if obj.GetUID() != uid || field(obj, "data", "color") != "red" {
		t.Errorf("handed over as %v", obj.Object["data"])
	}
	if managers := obj.GetManagedFields(); len(managers) != 1 {
		t.Errorf("the former owner still manages fields: %+v", managers)
	}
}

func TestOnlyRecordedObjectsArePruned(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("keep", "k", "v")+configMap("drop", "k", "v"))
	w.synced("shop")
	lookalike := existing("lookalike", "red")
	lookalike["metadata"].(map[string]any)["labels"] = map[string]any{partOfLabel: applySetID(w.key("shop"))}
	w.create(configs, lookalike)
	w.deploy("shop", configMap("keep", "k", "v"))
	w.eventually("it is pruned", func() bool { return !w.exists(configs, "drop") })
	w.synced("shop")
	if !w.exists(configs, "lookalike") {
		t.Error("an object was deleted because of its label")
	}
}

func TestARecreatedOrControlledObjectIsNeverPruned(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("keep", "k", "v")+configMap("again", "k", "v")+configMap("controlled", "k", "v"))
	w.synced("shop")
	w.halt()
	w.deleteObject(configs, "again")
	w.create(configs, existing("again", "red"))
	owner := w.get(configs, "keep")
	w.edit(configs, "controlled", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"keep","uid":"`+string(owner.GetUID())+`","controller":true}]}}`)
	w.start()
	w.deploy("shop", configMap("keep", "k", "v"))
	w.synced("shop")
	w.state("shop", "in sync with one object", func(s report.State) bool { return s.Sync == report.InSync && s.Objects == 1 })
	if !w.exists(configs, "again") || !w.exists(configs, "controlled") {
		t.Error("what is not ours, or a controller's, was deleted")
	}
}

func TestNothingIsPrunedWhileSomethingIsNotApplied(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("old", "k", "v"))
	w.synced("shop")
	w.deploy("shop", configMap("new", "k", "v")+"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: broken, namespace: $NS}\nspec: {replicas: -1}\n")
	w.problem("shop", "Invalid")
	w.eventually("the new object is there", func() bool { return w.exists(configs, "new") })
	if !w.exists(configs, "old") {
		t.Error("the old object was pruned although its successor failed")
	}
	w.deploy("shop", configMap("new", "k", "v"))
	w.eventually("it is pruned", func() bool { return !w.exists(configs, "old") })
	w.synced("shop")
}

func TestASuddenlyEmptySourceHoldsAndIsReleasedByItsDigest(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "v")+configMap("b", "k", "v"))
	w.synced("shop")
	w.deploy("shop", "")
	s := w.state("shop", "Held", func(s report.State) bool { return s.Sync == report.Held && s.HeldDeletion != "" })
	if find(s, "DeletionHeld") == nil || !strings.Contains(s.Message, s.HeldDeletion) {
		t.Errorf("it does not say how to allow it: %s", describeState(s))
	}
	w.halt()
	w.start()
	again := w.state("shop", "Held", func(s report.State) bool { return s.Sync == report.Held })
	if again.HeldDeletion != s.HeldDeletion || !w.exists(configs, "a") {
		t.Error("a restart changed what is held")
	}
	w.change("shop", func(e *desired.Entry) { e.AllowDeletion = "0123456789ab" })
	w.state("shop", "Held", func(s report.State) bool { return s.Sync == report.Held })
	w.change("shop", func(e *desired.Entry) { e.AllowDeletion = s.HeldDeletion })
	w.synced("shop")
	if w.exists(configs, "a") || w.exists(configs, "b") {
		t.Error("the allowed deletion did not happen")
	}
}

func TestTheBudgetHoldsTheWholeList(t *testing.T) {
	w := newWorld(t)
	many := ""
	for _, n := range strings.Split("abcdefgh", "") {
		many += configMap(n, "k", "v")
	}
	w.deploy("shop", many, func(e *desired.Entry) { e.Policy.DeletionBudget = 5 })
	w.synced("shop")
	w.deploy("shop", configMap("a", "k", "v"))
	w.state("shop", "Held", func(s report.State) bool { return s.Sync == report.Held && s.HeldDeletion != "" })
	for _, n := range strings.Split("bcdefgh", "") {
		if !w.exists(configs, n) {
			t.Errorf("%s was deleted beyond the budget", n)
		}
	}
	w.change("shop", func(e *desired.Entry) { e.Policy.DeletionBudget = 7 })
	w.synced("shop")
	if w.exists(configs, "h") {
		t.Error("within the budget nothing should be held")
	}
}

// TestNothingIsInSyncWhileWhatItLeavesOutIsThere: what stays is as asked for at
// once, and what goes is decided on when all that stays was looked at.
func TestNothingIsInSyncWhileWhatItLeavesOutIsThere(t *testing.T) {
	w := newWorld(t)
	const stays = 20
	few := ""
	for i := range stays {
		few += configMap(fmt.Sprintf("stays-%d", i), "k", "v")
	}
	for range 10 {
		w.deploy("shop", few+configMap("goes", "k", "v"))
		w.synced("shop")
		w.deploy("shop", few)
		w.synced("shop")
		if w.exists(configs, "goes") {
			t.Fatal("in sync, and what is left out is still there")
		}
	}
}

func TestNamespacesAndVolumesNeedANamedConfirmation(t *testing.T) {
	w := newWorld(t)
	claim := "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: $NS}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"
	ns := "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: $NS-more}\n"
	w.deploy("shop", claim+ns+configMap("a", "k", "v")+configMap("b", "k", "v"))
	w.synced("shop")
	w.deploy("shop", configMap("a", "k", "v"))
	s := w.state("shop", "Held", func(s report.State) bool { return s.Sync == report.Held && s.HeldDeletion != "" })
	w.eventually("the plain object is pruned", func() bool { return !w.exists(configs, "b") })
	if !w.exists(schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}, "data") {
		t.Fatal("the volume was deleted")
	}
	s = w.state("shop", "Held", func(s report.State) bool { return s.Sync == report.Held && s.HeldDeletion != "" })
	w.change("shop", func(e *desired.Entry) { e.AllowDeletion = s.HeldDeletion })
	w.eventually("the namespace goes", func() bool {
		got, err := w.client.Resource(namespaces.gvr).Get(t.Context(), w.project+"-more", metav1.GetOptions{})
		return err != nil || got.GetDeletionTimestamp() != nil
	})
}

func TestWithdrawingOrphansByDefault(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue"))
	w.synced("shop")
	w.change("shop", withdrawing)
	w.state("shop", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
	w.edit(configs, "settings", `{"data":{"color":"red"}}`)
	if !w.exists(configs, "settings") {
		t.Fatal("the object was deleted")
	}
	kept, err := w.memory.LoadInventories(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("the inventory is forgotten", func() bool { _, has := kept[w.key("shop")]; return !has })
	if got := field(w.get(configs, "settings"), "data", "color"); got != "red" {
		t.Error("an orphan was corrected")
	}
}

func TestWithdrawingWithDeleteDeletesWithinTheRules(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "v")+configMap("b", "k", "v"), deleting)
	w.synced("shop")
	w.change("shop", withdrawing)
	w.state("shop", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
	if w.exists(configs, "a") || w.exists(configs, "b") {
		t.Error("objects are left")
	}
	w.deploy("big", configMap("c", "k", "v")+configMap("d", "k", "v"), deleting, func(e *desired.Entry) { e.Policy.DeletionBudget = 1 })
	w.synced("big")
	w.change("big", withdrawing)
	s := w.state("big", "Held", func(s report.State) bool { return s.Sync == report.Held })
	w.change("big", func(e *desired.Entry) { e.AllowDeletion = s.HeldDeletion })
	w.state("big", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
}

func TestAnEntryThatVanishesIsOrphaned(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue"), deleting)
	w.synced("shop")
	delete(w.entries, w.key("shop"))
	w.sync()
	w.eventually("it is forgotten", func() bool { return len(w.engine.States()) == 0 })
	if !w.exists(configs, "settings") {
		t.Error("its object was deleted")
	}
}

func TestAnotherApplicationOfTheSameNameInheritsNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("old", "k", "v")+configMap("both", "k", "v"))
	w.synced("shop")
	w.deploy("shop", configMap("both", "k", "w"), func(e *desired.Entry) { e.UID = "another" })
	w.synced("shop")
	if !w.exists(configs, "old") || field(w.get(configs, "both"), "data", "k") != "w" {
		t.Error("the new application pruned what the old one owned, or was not delivered")
	}
}
