// Package marks tells by the marks on a live object who else looks after it:
// another tool that reconciles it, other Atoll applications, and people's field
// managers. What follows from that is left to whoever would change the object.
package marks

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The marks of Argo CD: an annotation, and labels, of which everybody uses the
// last, ArgoPlain.
const (
	ArgoTracking = "argocd.argoproj.io/tracking-id"
	ArgoInstance = "argocd.argoproj.io/instance"
	ArgoPlain    = "app.kubernetes.io/instance"
)

// Reconciler names the tool that goes on reconciling a live object, and what to
// do about it; both are empty where there is none.
func Reconciler(live *unstructured.Unstructured) (tool, do string) {
	const takeOver = "take it over with `atoll takeover argocd --app %s`, or take annotation and label off when Argo CD is gone"
	if id := live.GetAnnotations()[ArgoTracking]; id != "" {
		app, _, _ := strings.Cut(id, ":")
		return "Argo CD application " + app, fmt.Sprintf(takeOver, app)
	}
	labels := live.GetLabels()
	if app := labels[ArgoInstance]; app != "" {
		return "Argo CD application " + app, fmt.Sprintf(takeOver, app)
	}
	if app := labels[ArgoPlain]; app != "" && managedByArgo(live) {
		return "Argo CD application " + app, fmt.Sprintf(takeOver, app)
	}
	for prefix, kind := range map[string]string{"kustomize.toolkit.fluxcd.io": "Kustomization", "helm.toolkit.fluxcd.io": "HelmRelease"} {
		if name := labels[prefix+"/name"]; name != "" {
			return fmt.Sprintf("Flux %s %s/%s", kind, labels[prefix+"/namespace"], name),
				fmt.Sprintf("delete that so that its objects stay, then take the label %s/name off", prefix)
		}
	}
	return "", ""
}

// managedByArgo tells Argo CD's use of a label that everybody uses.
func managedByArgo(live *unstructured.Unstructured) bool {
	return slices.ContainsFunc(Managers(live), func(m string) bool {
		return m == "argocd-controller" || m == "argocd-application-controller"
	})
}

// Managers are the field managers of a live object, each once, in the order of
// its managed fields.
func Managers(live *unstructured.Unstructured) []string {
	var all []string
	for _, entry := range live.GetManagedFields() {
		if !slices.Contains(all, entry.Manager) {
			all = append(all, entry.Manager)
		}
	}
	return all
}

// Ours is the part of a field manager behind Atoll's prefix, "PROJECT/APPLICATION";
// ok tells that it is one of Atoll's.
func Ours(manager string) (application string, ok bool) {
	return strings.CutPrefix(manager, "atoll/")
}
