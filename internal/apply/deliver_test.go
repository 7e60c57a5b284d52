package apply

import (
	"strings"
	"testing"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

func TestAnApplicationIsDeliveredAndHealthy(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue")+deployment("web", "shop/web:1.0", 2))
	s := w.state("shop", "well", report.State.Well)
	if s.Objects != 2 || s.Applied != 2 || s.Ready != 2 {
		t.Errorf("counts: %s", describeState(s))
	}
	obj := w.get(configs, "settings")
	if got := obj.GetLabels()[partOfLabel]; got != applySetID(w.key("shop")) {
		t.Errorf("ApplySet label %q", got)
	}
	if manager := obj.GetManagedFields()[0].Manager; manager != FieldManager(w.key("shop")) {
		t.Errorf("field manager %q", manager)
	}
}

func TestANewContentReplacesTheOldAndAnEqualOneWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue", "size", "small"))
	w.synced("shop")
	w.deploy("shop", configMap("settings", "color", "red"))
	w.synced("shop")
	obj := w.get(configs, "settings")
	if field(obj, "data", "color") != "red" || field(obj, "data", "size") != "<nil>" {
		t.Errorf("data: %v", obj.Object["data"])
	}
	w.change("shop", func(e *desired.Entry) { e.Generation++ })
	w.synced("shop")
	if again := w.get(configs, "settings"); again.GetResourceVersion() != obj.GetResourceVersion() {
		t.Error("an unchanged object was written again")
	}
}

func TestARestartWritesNothingWhenNothingChanged(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue")+deployment("web", "shop/web:1.0", 1))
	w.state("shop", "well", report.State.Well)
	before := w.get(deployments, "web")
	w.halt()
	w.start()
	w.state("shop", "well", report.State.Well)
	if after := w.get(deployments, "web"); after.GetResourceVersion() != before.GetResourceVersion() {
		t.Error("the restart wrote an unchanged object")
	}
}

func TestARestartFindsWhatHappenedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "1")+configMap("b", "k", "1")+configMap("c", "k", "1"))
	w.synced("shop")
	w.halt()
	w.edit(configs, "a", `{"data":{"k":"2"}}`)
	w.deleteObject(configs, "b")
	w.start()
	w.eventually("a is corrected and b is back", func() bool {
		return w.exists(configs, "b") && field(w.get(configs, "a"), "data", "k") == "1"
	})
	w.synced("shop")
}

func TestALostMemoryMeansOneApplyAndNoDisruption(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue")+deployment("web", "shop/web:1.0", 1))
	w.state("shop", "well", report.State.Well)
	before := w.get(deployments, "web")
	w.halt()
	w.memory = &Volatile{}
	w.edit(configs, "settings", `{"data":{"color":"green"}}`)
	w.start()
	w.state("shop", "well", report.State.Well)
	if got := field(w.get(configs, "settings"), "data", "color"); got != "blue" {
		t.Errorf("color %q: what our field manager owned is ours", got)
	}
	if after := w.get(deployments, "web"); after.GetGeneration() != before.GetGeneration() {
		t.Error("the deployment was changed")
	}
}

func TestObjectsThatTheMemberRefusesDoNotStopTheOthers(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("fine", "k", "v")+`---
apiVersion: v1
kind: Service
metadata: {name: Not_A_Name-, namespace: $NS}
spec: {ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: broken, namespace: $NS}
spec: {replicas: -1}
`)
	p := w.problem("shop", "Invalid")
	if p.Message == "" {
		t.Error("the problem says nothing")
	}
	w.eventually("the good object is there", func() bool { return w.exists(configs, "fine") })
	s := w.state("shop", "Failed", func(s report.State) bool { return s.Sync == report.Failed && s.Applied == 1 })
	if s.Objects != 3 || s.Health != report.HealthUnknown {
		t.Error(describeState(s))
	}
}

func TestAFieldOfTheWrongTypeIsNamed(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", strings.Replace(deployment("web", "shop/web:1.0", 1), "replicas: 1", "replicas: many", 1))
	if p := w.problem("shop", "Invalid"); p.Message != `spec.replicas: expected numeric (int or float), got string` {
		t.Errorf("message: %s", p.Message)
	}
}

func TestAKindWhoseDefinitionArrivesLater(t *testing.T) {
	w := newWorld(t)
	group := w.project + ".example.com"
	widget := "---\napiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: one, namespace: $NS}\nspec: {size: 3}\n"
	w.deploy("shop", configMap("fine", "k", "v")+widget)
	w.problem("shop", "NoKind")
	w.eventually("the rest is applied", func() bool { return w.exists(configs, "fine") })
	w.deploy("kinds", definition(group), func(e *desired.Entry) { e.Policy.Privileged = true })
	w.synced("kinds")
	w.synced("shop")
}

func TestADefinitionAndItsObjectsInOneContent(t *testing.T) {
	w := newWorld(t)
	group := w.project + ".example.com"
	w.deploy("all", definition(group)+"---\napiVersion: "+group+"/v1\nkind: Widget\nmetadata: {name: one, namespace: $NS}\nspec: {size: 3}\n",
		func(e *desired.Entry) { e.Policy.Privileged = true })
	s := w.synced("all")
	if s.Objects != 2 || s.Health == report.HealthHealthy && s.Assumed == 0 {
		t.Errorf("a silent custom resource is not healthy at once: %s", describeState(s))
	}
}

// A kind that stays away must not have an application with a definition of its own
// prepared without a pause.
func TestAKindThatStaysAwayIsAskedForLessAndLess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("all", definition(w.project+".example.com")+"---\napiVersion: away.example.com/v1\nkind: Gadget\nmetadata: {name: one, namespace: $NS}\n",
		func(e *desired.Entry) { e.Policy.Privileged = true })
	w.problem("all", "NoKind")
	w.eventually("it waits longer each time", func() bool {
		w.engine.mu.Lock()
		defer w.engine.mu.Unlock()
		return w.engine.entries[w.key("all")].attempts >= 4
	})
}

func definition(group string) string {
	return `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.` + group + `}
spec:
  group: ` + group + `
  names: {kind: Widget, plural: widgets, singular: widget}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`
}

func TestContentThatHasNotArrivedIsSaidAndTriedAgain(t *testing.T) {
	w := newWorld(t)
	digest := w.store(configMap("late", "k", "v"))
	bundle := w.bundles[digest]
	w.mu.Lock()
	delete(w.bundles, digest)
	w.mu.Unlock()
	w.entries[w.key("shop")] = desired.Entry{Key: w.key("shop"), UID: "u", Content: digest, Namespace: w.project}
	w.sync()
	w.problem("shop", "ContentMissing")
	w.mu.Lock()
	w.bundles[digest] = bundle
	w.mu.Unlock()
	w.sync()
	w.synced("shop")
}

func TestNamespacesAreMadeAndAReboundNameIsUsed(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: $NS-extra, labels: {team: a}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: here, namespace: $NS-extra}\ndata: {region: '${atoll:cluster.region}'}\n",
		func(e *desired.Entry) { e.Bindings = map[string]string{"cluster.region": "mars"} })
	w.synced("shop")
	w.project += "-extra"
	if got := field(w.get(configs, "here"), "data", "region"); got != "mars" {
		t.Errorf("region %q", got)
	}
}

func TestSecretValuesArriveAndAreNeverShown(t *testing.T) {
	const canary = "c4n4ry-value"
	w := newWorld(t)
	manifest := "---\napiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: $NS}\nstringData: {password: " + canary + "}\n"
	w.deploy("shop", manifest, report1)
	w.synced("shop")
	if got := field(w.get(secrets, "login"), "data", "password"); got == "<nil>" {
		t.Fatal("the value did not arrive")
	}
	w.edit(secrets, "login", `{"stringData":{"password":"stolen-`+canary+`"}}`)
	s := w.state("shop", "Drifted", func(s report.State) bool { return s.Sync == report.Drifted })
	if len(s.Drift) != 1 || s.Drift[0].Old != "(hidden)" || s.Drift[0].New != "(hidden)" {
		t.Errorf("drift: %+v", s.Drift)
	}
	w.halt()
	if strings.Contains(describeState(s)+w.logged.String(), canary) {
		t.Error("the value is in the state or in the log")
	}
	kept, err := w.memory.LoadInventories(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range kept {
		if strings.Contains(string(data), canary) {
			t.Error("the value is in the inventory")
		}
	}
}
