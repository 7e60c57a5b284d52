package apply

import (
	"strings"
	"testing"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

func TestHealthFollowsTheWorkload(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", deployment("web", "shop/web:1.0", 1))
	w.state("shop", "well", report.State.Well)
	w.deploy("shop", deployment("web", "shop/web:broken", 1))
	s := w.state("shop", "applied and not healthy", func(s report.State) bool {
		return s.Sync == report.InSync && s.Health != report.HealthHealthy && s.Health != report.HealthUnknown
	})
	if !strings.Contains(s.Message, "web") {
		t.Errorf("it does not say what is unwell: %s", describeState(s))
	}
	w.deploy("shop", deployment("web", "shop/web:1.1", 1))
	w.state("shop", "well", report.State.Well)
}

func TestARuleJudgesAKindThatSaysNothing(t *testing.T) {
	w := newWorld(t)
	rule := v1alpha1.HealthRule{Kind: "ConfigMap", Healthy: "object.data.ready == 'yes'", Degraded: "object.data.ready == 'never'"}
	w.deploy("shop", configMap("settings", "k", "v", "ready", "no"), func(e *desired.Entry) { e.Policy.Health = []v1alpha1.HealthRule{rule} },
		ignoring(v1alpha1.FieldRule{Paths: []string{"data.ready"}}))
	w.state("shop", "progressing", func(s report.State) bool {
		return s.Sync == report.InSync && s.Health == report.HealthProgressing
	})
	w.edit(configs, "settings", `{"data":{"ready":"yes"}}`)
	w.state("shop", "well", report.State.Well)
	w.edit(configs, "settings", `{"data":{"ready":"never"}}`)
	w.state("shop", "degraded", func(s report.State) bool {
		return s.Health == report.HealthDegraded && find(s, "Unhealthy") != nil
	})
}

func TestAnAdoptedWorkloadKeepsWhatItsScalerChose(t *testing.T) {
	w := newWorld(t)
	w.ownNamespace()
	w.applyRaw(deployments, "web", deployment("web", "shop/web:1.0", 2))
	w.applyRaw(hpas.gvr, "web", scaler("web"))
	w.scale("web", 7)
	w.deploy("shop", deployment("web", "shop/web:1.0", 2)+scaler("web"), adopting)
	w.synced("shop")
	if got := field(w.get(deployments, "web"), "spec", "replicas"); got != "7" {
		t.Errorf("adopting reset the replicas to %s", got)
	}
}

func TestAVerticalScalerKeepsItsResources(t *testing.T) {
	w := newWorld(t)
	w.deploy("kinds", vpaDefinition, func(e *desired.Entry) { e.Policy.Privileged = true })
	w.synced("kinds")
	vpa := "---\napiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nmetadata: {name: web, namespace: $NS}\nspec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n"
	w.deploy("shop", deployment("web", "shop/web:1.0", 1)+vpa)
	w.synced("shop")
	before := w.get(deployments, "web").GetGeneration()
	w.patchJSON(deployments, "web", `[{"op":"replace","path":"/spec/template/spec/containers/0/resources/requests/cpu","value":"50m"},{"op":"replace","path":"/spec/replicas","value":3}]`)
	w.eventually("the replicas are corrected", func() bool { return field(w.get(deployments, "web"), "spec", "replicas") == "1" })
	w.synced("shop")
	resources := nestedMaps(w.get(deployments, "web").Object, "spec", "template", "spec", "containers")[0]["resources"].(map[string]any)
	if got := resources["requests"].(map[string]any)["cpu"]; got != "50m" || before == 0 {
		t.Errorf("the vertical scaler's cpu was reset to %v", got)
	}
}

const vpaDefinition = `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: verticalpodautoscalers.autoscaling.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes/kubernetes/pull/63797"}
spec:
  group: autoscaling.k8s.io
  names: {kind: VerticalPodAutoscaler, plural: verticalpodautoscalers, singular: verticalpodautoscaler}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`
