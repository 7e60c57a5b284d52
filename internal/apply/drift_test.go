package apply

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

func ignoring(rules ...v1alpha1.FieldRule) func(*desired.Entry) {
	return func(e *desired.Entry) { e.Policy.Ignore = rules }
}

func TestAChangedFieldIsForcedBackAndRecorded(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue")+deployment("web", "shop/web:1.0", 1))
	w.synced("shop")
	w.edit(configs, "settings", `{"data":{"color":"red"}}`)
	w.edit(deployments, "web", `{"spec":{"replicas":4}}`)
	w.eventually("both are corrected", func() bool {
		return field(w.get(configs, "settings"), "data", "color") == "blue" && field(w.get(deployments, "web"), "spec", "replicas") == "1"
	})
	s := w.state("shop", "corrected twice", func(s report.State) bool { return s.Corrections == 2 && s.Sync == report.InSync })
	found := map[string]report.Change{}
	for _, c := range s.Drift {
		found[c.Path] = c
	}
	if c := found["data.color"]; c.Old != "blue" || c.New != "red" || c.Manager != "person" || !c.Corrected || c.At == 0 {
		t.Errorf("record of data.color: %+v", c)
	}
	if c := found["spec.replicas"]; c.Old != "1" || c.New != "4" {
		t.Errorf("record of spec.replicas: %+v", c)
	}
}

func TestADeletedObjectAndARemovedFieldComeBack(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue", "size", "small"))
	w.synced("shop")
	w.edit(configs, "settings", `{"data":{"size":null}}`)
	w.eventually("the field is back", func() bool { return field(w.get(configs, "settings"), "data", "size") == "small" })
	w.deleteObject(configs, "settings")
	w.eventually("the object is back", func() bool { return w.exists(configs, "settings") })
	s := w.state("shop", "in sync again", func(s report.State) bool { return s.Sync == report.InSync && s.Corrections == 2 })
	if last := s.Drift[len(s.Drift)-1]; last.New != report.Deleted || last.Path != "" || last.At == 0 {
		t.Errorf("record of the deletion: %+v", last)
	}
}

func TestALabelThatSelectsOurObjectsComesBackToo(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue"))
	w.synced("shop")
	w.edit(configs, "settings", `{"metadata":{"labels":{"`+partOfLabel+`":null}}}`)
	w.eventually("the label is back", func() bool { return w.get(configs, "settings").GetLabels()[partOfLabel] != "" })
	s := w.state("shop", "in sync again", func(s report.State) bool { return s.Sync == report.InSync && s.Corrections == 1 })
	if got := s.Drift[0]; !strings.Contains(got.Path, partOfLabel) || got.New == report.Deleted {
		t.Errorf("record of the lost label: %+v", got)
	}
}

func TestALabelThatGoesWithAChangeHidesNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue"))
	w.synced("shop")
	w.edit(configs, "settings", `{"data":{"color":"red"},"metadata":{"labels":{"`+partOfLabel+`":null}}}`)
	w.eventually("both are back", func() bool {
		o := w.get(configs, "settings")
		return o.GetLabels()[partOfLabel] != "" && field(o, "data", "color") == "blue"
	})
	s := w.state("shop", "in sync again", func(s report.State) bool { return s.Sync == report.InSync && s.Corrections == 2 })
	if !slices.ContainsFunc(s.Drift, func(c report.Change) bool { return c.Path == "data.color" && c.New == "red" }) {
		t.Errorf("the changed field is not on record: %+v", s.Drift)
	}
}

func TestWhatOthersAddAndDefaultIsNoDrift(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue")+deployment("web", "shop/web:1.0", 1))
	w.state("shop", "well", report.State.Well)
	w.edit(configs, "settings", `{"data":{"extra":"kept"},"metadata":{"annotations":{"note":"kept"}}}`)
	w.edit(deployments, "web", `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":5}}}}`)
	w.edit(configs, "settings", `{"data":{"color":"red"}}`) // something that will be corrected
	w.eventually("the drift is corrected", func() bool { return field(w.get(configs, "settings"), "data", "color") == "blue" })
	if field(w.get(configs, "settings"), "data", "extra") != "kept" || field(w.get(deployments, "web"), "spec", "template", "spec", "terminationGracePeriodSeconds") != "5" {
		t.Error("an addition by others was removed")
	}
	w.state("shop", "corrected once", func(s report.State) bool { return s.Corrections == 1 && s.Sync == report.InSync })
}

func TestReportModeRecordsAndLeaves(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue", "size", "small"), report1)
	w.synced("shop")
	w.edit(configs, "settings", `{"data":{"color":"red"}}`)
	s := w.state("shop", "Drifted", func(s report.State) bool { return s.Sync == report.Drifted })
	if len(s.Drift) != 1 || s.Drift[0].Old != "blue" || s.Drift[0].New != "red" || s.Drift[0].Manager != "person" || s.Drift[0].Corrected {
		t.Errorf("drift: %+v", s.Drift)
	}
	// A new content arrives, and what the person changed still stands.
	w.deploy("shop", configMap("settings", "color", "blue", "size", "large"), report1)
	w.state("shop", "Drifted", func(s report.State) bool { return s.Sync == report.Drifted && s.Applied == 1 })
	if obj := w.get(configs, "settings"); field(obj, "data", "size") != "large" || field(obj, "data", "color") != "red" {
		t.Errorf("data: %v", obj.Object["data"])
	}
	// The person gives in.
	w.edit(configs, "settings", `{"data":{"color":"blue"}}`)
	w.synced("shop")
	// And with Correct the drift would not have lasted.
	w.edit(configs, "settings", `{"data":{"color":"green"}}`)
	w.state("shop", "Drifted", func(s report.State) bool { return s.Sync == report.Drifted })
	w.change("shop", func(e *desired.Entry) { e.Policy.DriftMode = v1alpha1.DriftCorrect })
	w.eventually("it is corrected", func() bool { return field(w.get(configs, "settings"), "data", "color") == "blue" })
	w.synced("shop")
}

func TestADeletionIsReportedInReportMode(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue"), report1)
	w.synced("shop")
	w.deleteObject(configs, "settings")
	w.state("shop", "Drifted", func(s report.State) bool { return s.Sync == report.Drifted })
	if w.exists(configs, "settings") {
		t.Error("Report mode made it again")
	}
}

func TestIgnoredFieldsBelongToOthersAfterCreation(t *testing.T) {
	w := newWorld(t)
	rule := v1alpha1.FieldRule{Kind: "ConfigMap", Name: "settings", Paths: []string{"data.color", "metadata.annotations[example.com/x]"}}
	w.deploy("shop", configMap("settings", "color", "blue", "size", "small"), ignoring(rule))
	w.synced("shop")
	if got := field(w.get(configs, "settings"), "data", "color"); got != "blue" {
		t.Errorf("created with color %q", got)
	}
	w.edit(configs, "settings", `{"data":{"color":"red","size":"large"}}`)
	w.eventually("the size is corrected", func() bool { return field(w.get(configs, "settings"), "data", "size") == "small" })
	s := w.state("shop", "corrected once", func(s report.State) bool { return s.Corrections == 1 && s.Sync == report.InSync })
	if got := field(w.get(configs, "settings"), "data", "color"); got != "red" {
		t.Errorf("the ignored field is %q; %s", got, describeState(s))
	}
	w.deploy("shop", configMap("settings", "color", "blue", "size", "huge"), ignoring(rule))
	w.synced("shop")
	if got := field(w.get(configs, "settings"), "data", "color"); got != "red" {
		t.Errorf("a new content overwrote the ignored field: %q", got)
	}
}

func TestFieldsBeginToBeIgnoredWithoutLosingTheirValue(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue", "size", "small"))
	w.synced("shop")
	w.deploy("shop", configMap("settings", "color", "blue", "size", "small"), ignoring(v1alpha1.FieldRule{Paths: []string{"data[color]"}}))
	w.synced("shop")
	if got := field(w.get(configs, "settings"), "data", "color"); got != "blue" {
		t.Errorf("color became %q when it was given up", got)
	}
	w.change("shop", func(e *desired.Entry) { e.Policy.Ignore = nil })
	w.synced("shop")
	w.edit(configs, "settings", `{"data":{"color":"red"}}`)
	w.eventually("it is ours again", func() bool { return field(w.get(configs, "settings"), "data", "color") == "blue" })
}

func TestExactRemovesAdditionsButNotThoseOfKubernetes(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue")+deployment("web", "shop/web:1.0", 1), func(e *desired.Entry) {
		e.Policy.Exact = []v1alpha1.FieldRule{
			{Kind: "ConfigMap", Paths: []string{"data", "metadata.labels"}},
			{Kind: "Deployment", Paths: []string{"spec.template.spec.containers"}},
		}
	})
	w.synced("shop")
	w.edit(configs, "settings", `{"data":{"more":"y"},"metadata":{"labels":{"mine":"1","x.kubernetes.io/keep":"1"}}}`)
	w.eventually("the additions are gone", func() bool {
		obj := w.get(configs, "settings")
		return field(obj, "data", "more") == "<nil>" && obj.GetLabels()["mine"] == ""
	})
	if obj := w.get(configs, "settings"); obj.GetLabels()["x.kubernetes.io/keep"] != "1" || field(obj, "data", "color") != "blue" {
		t.Errorf("too much was removed: %v %v", obj.GetLabels(), obj.Object["data"])
	}
	sidecar := `[{"op":"add","path":"/spec/template/spec/containers/0","value":{"name":"spy","image":"spy:1"}}]`
	w.patchJSON(deployments, "web", sidecar)
	w.eventually("the sidecar is gone", func() bool {
		return len(nestedMaps(w.get(deployments, "web").Object, "spec", "template", "spec", "containers")) == 1
	})
	w.synced("shop")
}

func TestPauseHoldsCorrectionOfAnObjectAndOfANamespace(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("one", "k", "v")+configMap("two", "k", "v"))
	w.synced("shop")
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	w.edit(configs, "one", `{"metadata":{"annotations":{"atoll.dev/pause-until":"`+until+`"}}}`)
	w.edit(configs, "one", `{"data":{"k":"hotfix"}}`)
	w.edit(configs, "two", `{"data":{"k":"drift"}}`)
	w.eventually("two is corrected", func() bool { return field(w.get(configs, "two"), "data", "k") == "v" })
	s := w.state("shop", "Drifted", func(s report.State) bool { return s.Sync == report.Drifted })
	if got := field(w.get(configs, "one"), "data", "k"); got != "hotfix" {
		t.Errorf("the paused object was corrected to %q", got)
	}
	if last := s.Drift[len(s.Drift)-1]; last.Paused != until || last.Corrected {
		t.Errorf("drift: %+v", last)
	}
	w.edit(configs, "one", `{"metadata":{"annotations":{"atoll.dev/pause-until":null}}}`)
	w.eventually("one is corrected", func() bool { return field(w.get(configs, "one"), "data", "k") == "v" })

	w.annotateNamespace(until)
	w.engineKnowsPause()
	w.edit(configs, "two", `{"data":{"k":"hotfix"}}`)
	w.state("shop", "Drifted", func(s report.State) bool { return s.Sync == report.Drifted })
	w.change("shop", func(e *desired.Entry) { e.Policy.ForbidPause = true })
	w.eventually("a project may forbid it", func() bool { return field(w.get(configs, "two"), "data", "k") == "v" })
}

func TestAPauseThatIsTooLongOrNonsenseIsIgnoredAndSaid(t *testing.T) {
	for name, text := range map[string]string{
		"too long": time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339),
		"nonsense": "tomorrow",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy("shop", configMap("one", "k", "v"))
			w.synced("shop")
			w.edit(configs, "one", `{"metadata":{"annotations":{"atoll.dev/pause-until":"`+text+`"}}}`)
			w.edit(configs, "one", `{"data":{"k":"drift"}}`)
			w.eventually("it is corrected", func() bool { return field(w.get(configs, "one"), "data", "k") == "v" })
			w.state("shop", "said to be ignored", func(s report.State) bool { return s.Sync == report.InSync && s.Message != "" })
		})
	}
}

func TestAPauseEndsByItself(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("one", "k", "v"))
	w.synced("shop")
	until := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
	w.edit(configs, "one", `{"metadata":{"annotations":{"atoll.dev/pause-until":"`+until+`"}}}`)
	w.edit(configs, "one", `{"data":{"k":"hotfix"}}`)
	w.eventually("it is corrected in the end", func() bool { return field(w.get(configs, "one"), "data", "k") == "v" })
}

func TestAnAutoscalerKeepsItsReplicas(t *testing.T) {
	w := newWorld(t)
	web := deployment("web", "shop/web:1.0", 2)
	w.deploy("shop", web)
	w.synced("shop")
	w.edit(deployments, "web", `{"spec":{"replicas":3}}`)
	w.eventually("without a scaler it is drift", func() bool { return field(w.get(deployments, "web"), "spec", "replicas") == "2" })
	w.deploy("shop", web+scaler("web"))
	w.synced("shop")
	if got := field(w.get(deployments, "web"), "spec", "replicas"); got != "2" {
		t.Errorf("giving up the field changed it to %s", got)
	}
	w.scale("web", 5)
	w.edit(deployments, "web", `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"other:2"}]}}}}`)
	w.eventually("the image is corrected", func() bool {
		return field(w.get(deployments, "web"), "spec", "template", "spec", "containers") != "" &&
			nestedMaps(w.get(deployments, "web").Object, "spec", "template", "spec", "containers")[0]["image"] == "shop/web:1.0"
	})
	w.synced("shop")
	if got := field(w.get(deployments, "web"), "spec", "replicas"); got != "5" {
		t.Errorf("the scaler's replicas were reset to %s", got)
	}
	w.halt()
	w.start()
	w.deploy("shop", deployment("web", "shop/web:1.1", 2)+scaler("web"))
	w.synced("shop")
	if got := field(w.get(deployments, "web"), "spec", "replicas"); got != "5" {
		t.Errorf("a delivery after a restart reset the replicas to %s", got)
	}
}

func TestAScalerThatSomeoneElseMadeCounts(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", deployment("web", "shop/web:1.0", 2))
	w.synced("shop")
	w.applyRaw(hpas.gvr, "web", scaler("web"))
	key := ID{Group: "apps", Kind: "Deployment", Namespace: w.project, Name: "web"}
	w.eventually("replicas are given up", func() bool {
		w.engine.mu.Lock()
		defer w.engine.mu.Unlock()
		o := w.engine.objects[key]
		return o.giveUpHash != 0 && o.applied()
	})
	w.scale("web", 6)
	w.deploy("shop", deployment("web", "shop/web:1.1", 2))
	w.synced("shop")
	if got := field(w.get(deployments, "web"), "spec", "replicas"); got != "6" {
		t.Errorf("replicas are %s", got)
	}
	w.deleteObject(hpas.gvr, "web")
	w.eventually("they are ours again", func() bool { return field(w.get(deployments, "web"), "spec", "replicas") == "2" })
}

func TestAFightSlowsDownInsteadOfSpinning(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("settings", "color", "blue"))
	w.synced("shop")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 25 {
		w.edit(configs, "settings", `{"data":{"color":"red"}}`)
		if w.engine.States()[w.key("shop")].Sync == report.Drifted {
			break
		}
		w.settle(ctx)
	}
	s := w.state("shop", "Drifted", func(s report.State) bool { return s.Sync == report.Drifted })
	if s.Corrections < 5 {
		t.Errorf("gave up after %d corrections", s.Corrections)
	}
}
