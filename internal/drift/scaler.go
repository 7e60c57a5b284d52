package drift

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Target is a workload that a scaler governs.
type Target struct {
	Group, Kind, Namespace, Name string
}

// Governed are the fields that a scaler's object takes over in its target.
type Governed struct {
	Target Target
	Paths  Paths
	// By names the scaler for people: "HorizontalPodAutoscaler/web".
	By string
}

// Governs reads a HorizontalPodAutoscaler, a KEDA ScaledObject or a
// VerticalPodAutoscaler; false for any other object, or one that only watches.
func Governs(obj map[string]any) (Governed, bool) {
	u := unstructured.Unstructured{Object: obj}
	gk := u.GroupVersionKind().GroupKind()
	switch gk {
	case schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"},
		schema.GroupKind{Group: "keda.sh", Kind: "ScaledObject"}:
		return governed(u, "scaleTargetRef", replicas)
	case schema.GroupKind{Group: "autoscaling.k8s.io", Kind: "VerticalPodAutoscaler"}:
		mode, _, _ := unstructured.NestedString(obj, "spec", "updatePolicy", "updateMode")
		if mode == "Off" {
			return Governed{}, false
		}
		return governed(u, "targetRef", resources(obj))
	}
	return Governed{}, false
}

// IsScaler tells the kinds that Governs reads.
func IsScaler(gk schema.GroupKind) bool {
	return slices.Contains(ScalerKinds, gk)
}

// ScalerKinds are the kinds that Governs reads.
var ScalerKinds = []schema.GroupKind{
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"},
	{Group: "keda.sh", Kind: "ScaledObject"},
	{Group: "autoscaling.k8s.io", Kind: "VerticalPodAutoscaler"},
}

func governed(u unstructured.Unstructured, field string, paths Paths) (Governed, bool) {
	ref, _, _ := unstructured.NestedStringMap(u.Object, "spec", field)
	if ref == nil { // KEDA's reference also holds fields that are not strings
		raw, _, _ := unstructured.NestedMap(u.Object, "spec", field)
		ref = map[string]string{}
		for _, k := range []string{"apiVersion", "kind", "name"} {
			ref[k], _ = raw[k].(string)
		}
	}
	if ref["name"] == "" || len(paths) == 0 {
		return Governed{}, false
	}
	gv, err := schema.ParseGroupVersion(cmp.Or(ref["apiVersion"], "apps/v1")) // KEDA's default
	if err != nil {
		return Governed{}, false
	}
	return Governed{
		Target: Target{Group: gv.Group, Kind: cmp.Or(ref["kind"], "Deployment"), Namespace: u.GetNamespace(), Name: ref["name"]},
		Paths:  paths,
		By:     u.GetKind() + "/" + u.GetName(),
	}, true
}

var replicas = Paths{{{text: "spec"}, {text: "replicas"}}}

// resources are the container resources that the VPA sets, wherever a kind of
// workload keeps its pod template. Containers that its policy switches off stay
// ours.
func resources(vpa map[string]any) Paths {
	off := map[string]bool{}
	policies, _, _ := unstructured.NestedSlice(vpa, "spec", "resourcePolicy", "containerPolicies")
	var named []string
	for _, p := range policies {
		policy, _ := p.(map[string]any)
		name, _ := policy["containerName"].(string)
		mode, _ := policy["mode"].(string)
		off[name] = mode == "Off"
		if name != "*" && mode != "Off" {
			named = append(named, name)
		}
	}
	containers := []segment{{text: "*", bracket: true}}
	if off["*"] {
		containers = nil
		for _, name := range named {
			containers = append(containers, segment{text: "name=" + name, bracket: true, keys: []keyValue{{"name", name}}})
		}
	}
	var paths Paths
	for _, prefix := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		for _, c := range containers {
			var p Path
			for _, f := range prefix {
				p = append(p, segment{text: f})
			}
			paths = append(paths, append(p, segment{text: "containers"}, c, segment{text: "resources"}))
		}
	}
	return paths
}
