package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/report"
)

// leftAlone keeps adopting, which forces, away from what another tool goes on
// reconciling: the two would undo each other for ever.
func (e *Engine) leftAlone(ctx context.Context, j job) (outcome, bool) {
	if !j.want.Policy.Adopt || j.heirOf != "" {
		return outcome{}, false
	}
	live, err := e.clients.get(ctx, j.target)
	if apierrors.IsNotFound(err) {
		return outcome{}, false
	}
	if err != nil {
		return e.failed(ctx, j, err), true
	}
	p := elsewhere(j, live)
	return outcome{problem: p}, p != nil
}

// givenBack is the same where nothing was forced. What another tool made can
// be applied over as long as both say the same, and is seen then only; the hold
// that this gave is let go of again.
func (e *Engine) givenBack(ctx context.Context, j job, live *unstructured.Unstructured) (outcome, bool) {
	p := elsewhere(j, live)
	if p == nil || j.want.Policy.Adopt || j.heirOf != "" {
		return outcome{}, false
	}
	nothing, err := json.Marshal(identityOf(j.target))
	if err == nil {
		_, err = e.clients.apply(ctx, j.target, nothing, j.manager, false)
	}
	if err != nil {
		return e.failed(ctx, j, err), true
	}
	return outcome{problem: p}, true
}

// elsewhere names the tool that reconciles a live object, by the marks that it
// leaves; nil where there is none, and where the marks are of our own manifest.
func elsewhere(j job, live *unstructured.Unstructured) *report.Problem {
	tool, do := reconciler(live)
	others := false
	for _, entry := range live.GetManagedFields() {
		others = others || !strings.HasPrefix(entry.Manager, "atoll/")
	}
	if tool == "" || !others {
		return nil
	}
	return &report.Problem{Object: j.object.ref, Reason: "OwnedBy", Message: clip(tool + " reconciles it: " + do)}
}

const (
	argoTracking = "argocd.argoproj.io/tracking-id"
	argoInstance = "argocd.argoproj.io/instance"
	plainName    = "app.kubernetes.io/instance"
)

func reconciler(live *unstructured.Unstructured) (tool, do string) {
	const takeOver = "take it over with `atoll takeover argocd --app %s`, or take annotation and label off when Argo CD is gone"
	if id := live.GetAnnotations()[argoTracking]; id != "" {
		app, _, _ := strings.Cut(id, ":")
		return "Argo CD application " + app, fmt.Sprintf(takeOver, app)
	}
	labels := live.GetLabels()
	if app := labels[argoInstance]; app != "" {
		return "Argo CD application " + app, fmt.Sprintf(takeOver, app)
	}
	if app := labels[plainName]; app != "" && managedByArgo(live) {
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
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == "argocd-controller" || entry.Manager == "argocd-application-controller" {
			return true
		}
	}
	return false
}
