package importer

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// madeByClusters are kinds that nobody delivers: a cluster makes them of others.
var madeByClusters = map[schema.GroupKind]bool{
	{Kind: "Event"}: true, {Group: "events.k8s.io", Kind: "Event"}: true, {Kind: "Endpoints"}: true,
	{Group: "discovery.k8s.io", Kind: "EndpointSlice"}: true, {Group: "coordination.k8s.io", Kind: "Lease"}: true,
	{Group: "apps", Kind: "ControllerRevision"}: true, {Group: "metrics.k8s.io", Kind: "PodMetrics"}: true,
	{Kind: "PodTemplate"}: true, {Group: "policy", Kind: "Eviction"}: true,
}

// MadeByCluster tells kinds that need not be listed.
func MadeByCluster(gk schema.GroupKind) bool { return madeByClusters[gk] }

// Kept tells whether a live object is one that people wrote; why not is for
// those whose absence they might not expect.
func Kept(u *unstructured.Unstructured) (keep bool, why string) {
	kind, name := u.GroupVersionKind().GroupKind(), u.GetName()
	text := func(field string) string {
		s, _, _ := unstructured.NestedString(u.Object, field)
		return s
	}
	switch {
	case MadeByCluster(kind), u.GetDeletionTimestamp() != nil, len(u.GetOwnerReferences()) > 0:
		return false, ""
	case kind.Group == "" && kind.Kind == "ServiceAccount" && name == "default",
		kind.Group == "" && kind.Kind == "ConfigMap" && (name == "kube-root-ca.crt" || name == "openshift-service-ca.crt"):
		return false, ""
	case kind.Group == "" && kind.Kind == "Secret" && text("type") == "kubernetes.io/service-account-token":
		return false, ""
	case kind.Group == "" && kind.Kind == "Secret" && text("type") == "helm.sh/release.v1":
		return false, "is Helm's record of a release; `helm uninstall` would delete what Atoll adopted, so delete the record afterwards"
	case kind.Group == "" && kind.Kind == "Pod":
		return false, "is a pod that nothing would start again"
	case kind.Group == "batch" && kind.Kind == "Job":
		return false, "has run; deliver it as a new one if it is to run again"
	case strings.HasPrefix(u.GetLabels()["app.kubernetes.io/managed-by"], "atoll"), u.GetLabels()["applyset.kubernetes.io/part-of"] != "":
		return false, "is an application's already"
	}
	return true, ""
}

// Bare is a live object as people would have written it: without what servers
// and controllers put there. Values of Secrets stay in it.
func Bare(u *unstructured.Unstructured) *unstructured.Unstructured {
	out := u.DeepCopy()
	delete(out.Object, "status")
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "ownerReferences", "finalizers", "generateName"} {
		unstructured.RemoveNestedField(out.Object, "metadata", field)
	}
	annotations := out.GetAnnotations()
	for key := range annotations {
		if serversOwn(key) {
			delete(annotations, key)
		}
	}
	if len(annotations) == 0 {
		annotations = nil
	}
	out.SetAnnotations(annotations)
	kind := out.GroupVersionKind().GroupKind()
	switch kind {
	case schema.GroupKind{Kind: "Service"}:
		bareService(out)
	case schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		unstructured.RemoveNestedField(out.Object, "spec", "volumeName")
	case schema.GroupKind{Kind: "ServiceAccount"}:
		delete(out.Object, "secrets")
	}
	// Templates of pods carry it too, as null.
	unstructured.RemoveNestedField(out.Object, "spec", "template", "metadata", "creationTimestamp")
	return out
}

func serversOwn(annotation string) bool {
	for _, prefix := range []string{"kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/", "deprecated.daemonset.template.generation", "pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/", "autoscaling.alpha.kubernetes.io/"} {
		if strings.HasPrefix(annotation, prefix) {
			return true
		}
	}
	return false
}

// bareService leaves out the addresses and ports that a cluster gave.
func bareService(u *unstructured.Unstructured) {
	if ip, _, _ := unstructured.NestedString(u.Object, "spec", "clusterIP"); ip != "None" {
		unstructured.RemoveNestedField(u.Object, "spec", "clusterIP")
	}
	for _, field := range []string{"clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy", "healthCheckNodePort"} {
		unstructured.RemoveNestedField(u.Object, "spec", field)
	}
	if kind, _, _ := unstructured.NestedString(u.Object, "spec", "type"); kind == "NodePort" {
		return // people may have chosen the port
	}
	ports, _, _ := unstructured.NestedSlice(u.Object, "spec", "ports")
	for _, p := range ports {
		if m, ok := p.(map[string]any); ok {
			delete(m, "nodePort")
		}
	}
	if len(ports) > 0 {
		_ = unstructured.SetNestedSlice(u.Object, ports, "spec", "ports")
	}
}

// Live sorts what runs in a namespace into what an application would adopt and
// what is left behind. Without secrets, Secrets are left behind too.
func Live(objects []*unstructured.Unstructured, secrets bool) (*Result, []*unstructured.Unstructured) {
	r := &Result{}
	var kept []*unstructured.Unstructured
	for _, u := range objects {
		keep, why := Kept(u)
		switch {
		case why != "":
			r.note(title(u), "", "%s", why)
		case keep && !secrets && u.GroupVersionKind().GroupKind() == schema.GroupKind{Kind: "Secret"}:
			r.lose(title(u), "", "its values are not read: add --with-secrets to upload them, sealed, to the project")
		case keep:
			kept = append(kept, Bare(u))
		}
	}
	r.Objects = kept
	return r.finish(), r.Objects
}

// Adopting is the application that takes over what runs.
func Adopting(r *Result, project, name, namespace, cluster string, source map[string]any) *Result {
	out := &Result{Lost: r.Lost}
	spec := map[string]any{
		"source": source, "namespace": namespace, "adopt": true,
		"placement": map[string]any{"names": []any{cluster}},
	}
	out.add("Application", project, name, fmt.Sprintf("Namespace %s of cluster %s", namespace, cluster), nil, spec)
	return out
}
