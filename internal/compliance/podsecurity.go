package compliance

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	podpolicy "k8s.io/pod-security-admission/policy"
)

// PodSecurity is the check of pods, and of what makes pods, by the level that their
// Namespace enforces, and by Baseline where it enforces less.
const PodSecurity = "pod-security"

// podSecurity evaluates the levels as API servers do.
type podSecurity struct{ evaluator podpolicy.Evaluator }

func newPodSecurity() podSecurity {
	e, err := podpolicy.NewEvaluator(podpolicy.DefaultChecks(), nil)
	if err != nil {
		panic(fmt.Sprintf("the checks of Kubernetes contradict each other: %v", err)) // they are constants
	}
	return podSecurity{e}
}

// floor is the level that is asked for where a Namespace does not ask for more.
var floor = api.LevelVersion{Level: api.LevelBaseline, Version: api.LatestVersion()}

func (s podSecurity) check(w *world, o *object, now time.Time, f *findings) {
	template := podTemplate(o.manifest)
	if template == nil || o.namespace == "" || system(o.namespace) {
		return
	}
	fact := factOf(PodSecurity)
	pod := &corev1.PodTemplateSpec{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, pod); err != nil {
		f.undecide(PodSecurity, o, fmt.Sprintf("its pods cannot be read: %v", err))
		return
	}
	ns := w.namespace(o.namespace)
	// Labels that do not parse are refused by the API server with the Namespace.
	levels, _ := api.PolicyToEvaluate(ns.labels, api.Policy{Enforce: privileged, Audit: privileged, Warn: privileged})
	if why := s.failing(levels.Enforce, pod); why != "" {
		f.violate(fact.violation(w, o, Deny, fmt.Sprintf("level %q, which the Namespace enforces, forbids its pods: %s", levels.Enforce.Level, why), nil))
		return
	}
	passed := levels.Enforce
	for _, level := range []struct {
		api.LevelVersion
		effect Effect
		asks   string
	}{{levels.Warn, Warn, "of which the Namespace warns"}, {levels.Audit, Audit, "which the Namespace records"}, {floor, Audit, "the least that is asked for"}} {
		if level.LevelVersion == passed {
			continue
		}
		if why := s.failing(level.LevelVersion, pod); why != "" {
			excuse := exemption(ns, PodSecurity, now)
			f.violate(fact.violation(w, o, level.effect, fmt.Sprintf("level %q, %s, is not met: %s", level.Level, level.asks, why), excuse))
			return
		}
	}
}

var privileged = api.LevelVersion{Level: api.LevelPrivileged, Version: api.LatestVersion()}

// failing is what a level forbids of a pod, or "".
func (s podSecurity) failing(level api.LevelVersion, pod *corev1.PodTemplateSpec) string {
	result := podpolicy.AggregateCheckResults(s.evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
	if result.Allowed {
		return ""
	}
	return result.ForbiddenDetail()
}

// podTemplates says where the pods of Kubernetes' own kinds are described.
var podTemplates = map[string][]string{
	"Pod": {}, "v1/ReplicationController": {"spec", "template"}, "v1/PodTemplate": {"template"},
	"apps/Deployment": {"spec", "template"}, "apps/ReplicaSet": {"spec", "template"},
	"apps/StatefulSet": {"spec", "template"}, "apps/DaemonSet": {"spec", "template"},
	"batch/Job": {"spec", "template"}, "batch/CronJob": {"spec", "jobTemplate", "spec", "template"},
}

// podTemplate is metadata and spec of the pods that an object is or makes, or nil.
func podTemplate(u *unstructured.Unstructured) map[string]any {
	gvk := u.GroupVersionKind()
	key := gvk.Group + "/" + gvk.Kind
	switch {
	case gvk.Group == "" && gvk.Kind == "Pod":
		key = "Pod"
	case gvk.Group == "":
		key = "v1/" + gvk.Kind
	}
	path, ok := podTemplates[key]
	if !ok {
		return nil
	}
	at := u.Object
	for _, field := range path {
		if at, ok = at[field].(map[string]any); !ok {
			return nil
		}
	}
	spec, ok := at["spec"].(map[string]any)
	if !ok {
		return nil
	}
	// Only what the levels look at: the rest of metadata may hold anything.
	return map[string]any{"metadata": annotationsOf(at), "spec": spec}
}

func annotationsOf(template map[string]any) map[string]any {
	annotations, _, err := unstructured.NestedStringMap(template, "metadata", "annotations")
	if err != nil || len(annotations) == 0 {
		return map[string]any{}
	}
	return map[string]any{"annotations": generic(annotations)}
}
