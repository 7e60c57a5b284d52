package health

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/report"
)

type statusCondition struct {
	status, reason, message string
	// behind tells that the condition speaks of an earlier generation.
	behind bool
}

// condition is the object's condition of that type; nil when it has none.
func condition(obj *unstructured.Unstructured, kind string) *statusCondition {
	for _, c := range list(obj.Object, "status", "conditions") {
		entry, ok := c.(map[string]any)
		if !ok || text(entry, "type") != kind {
			continue
		}
		observed, stated := number(entry, "observedGeneration")
		return &statusCondition{
			status:  text(entry, "status"),
			reason:  text(entry, "reason"),
			message: text(entry, "message"),
			behind:  stated && observed < obj.GetGeneration(),
		}
	}
	return nil
}

func isTrue(obj *unstructured.Unstructured, kind string) bool {
	c := condition(obj, kind)
	return c != nil && c.status == "True"
}

// spoken are the conditions by which foreign kinds say that they work, in the
// order in which they are believed: Ready is the widest convention, the others
// are Deployment's, Crossplane's, Gateway API's and of run-once kinds.
var spoken = []string{"Ready", "Available", "Healthy", "Programmed", "Accepted", "Succeeded", "Complete"}

// foreign judges kinds that are not Kubernetes' own.
func foreign(obj *unstructured.Unstructured, firstSeen, now time.Time) Result {
	if stalled := condition(obj, "Stalled"); stalled != nil && stalled.status == "True" {
		return degraded("is stalled%s", colon(stalled.reason, stalled.message))
	}
	if reconciling := condition(obj, "Reconciling"); reconciling != nil && reconciling.status == "True" {
		return progressing("is being reconciled%s", colon(reconciling.reason, reconciling.message))
	}
	if failed := condition(obj, "Failed"); failed != nil && failed.status == "True" {
		return degraded("has failed%s", colon(failed.reason, failed.message))
	}
	for _, kind := range spoken {
		c := condition(obj, kind)
		switch {
		case c == nil:
			continue
		case c.behind:
			return progressing("condition %s speaks of an earlier generation", kind)
		case c.status == "True":
			return healthy("condition " + kind + " is True")
		}
		return progressing("condition %s is %s%s", kind, c.status, colon(c.reason, c.message))
	}
	if _, states := number(obj.Object, "status", "observedGeneration"); states {
		return healthy("its controller has seen the last change")
	}
	return silent(firstSeen, now)
}

func silent(firstSeen, now time.Time) Result {
	if end := firstSeen.Add(SilenceWindow); now.Before(end) {
		return Result{Health: report.HealthUnknown, Message: "has said nothing of its health yet", Recheck: end}
	}
	return Result{Health: report.HealthHealthy, Message: "says nothing of its health; assumed", Assumed: true}
}
