package apply

import (
	"context"
	"encoding/json"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/marks"
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
	tool, do := marks.Reconciler(live)
	others := slices.ContainsFunc(marks.Managers(live), func(m string) bool {
		_, ours := marks.Ours(m)
		return !ours
	})
	if tool == "" || !others {
		return nil
	}
	return &report.Problem{Object: j.object.ref, Reason: "OwnedBy", Message: clip(tool + " reconciles it: " + do)}
}
