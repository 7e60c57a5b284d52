// Package health judges whether one object of a member works. It decides by
// rules that the application brings, else by what Kubernetes' own kinds say of
// themselves (kstatus), and what silence means. Watching objects and adding up
// an application is its callers' work.
//
// Silence: an object of a foreign kind that says nothing of its health is
// Unknown for SilenceWindow after it was first seen, then Healthy but Assumed,
// which satisfies no gate. A kind whose rule has assumeHealthy is Healthy after
// the window, and not merely assumed.
package health

import (
	"fmt"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/report"
)

// SilenceWindow is how long an object may say nothing before its silence is
// taken for health: time for its controller to speak for the first time.
const SilenceWindow = 60 * time.Second

// Result is the health of one object.
type Result struct {
	Health report.Health
	// Message is a sentence for people; it may be empty for Healthy.
	Message string
	// Assumed tells that Healthy is only silence taken for health.
	Assumed bool
	// Recheck, when not zero, is when silence will have lasted long enough:
	// nothing in the object changes then, so its owner must look again.
	Recheck time.Time
}

func healthy(message string) Result {
	return Result{Health: report.HealthHealthy, Message: message}
}

func progressing(format string, args ...any) Result {
	return Result{Health: report.HealthProgressing, Message: fmt.Sprintf(format, args...)}
}

func degraded(format string, args ...any) Result {
	return Result{Health: report.HealthDegraded, Message: fmt.Sprintf(format, args...)}
}

// Assess judges a live object as the API server holds it. rules may be nil.
// firstSeen is when this object, by UID, was first observed.
func Assess(obj *unstructured.Unstructured, rules *Rules, firstSeen, now time.Time) Result {
	if obj.GetDeletionTimestamp() != nil {
		return progressing("is being deleted%s", finalizers(obj))
	}
	if behind, message := generationBehind(obj); behind {
		return progressing("%s", message)
	}
	if rule := rules.of(obj.GroupVersionKind().GroupKind()); rule != nil {
		return rule.assess(obj, firstSeen, now)
	}
	if judge, ok := judges[obj.GroupVersionKind().GroupKind()]; ok {
		if r, decided := judge(obj, now); decided {
			return r
		}
	}
	if !builtIn(obj.GroupVersionKind().Group) {
		return foreign(obj, firstSeen, now)
	}
	return byKstatus(obj)
}

func finalizers(obj *unstructured.Unstructured) string {
	if names := obj.GetFinalizers(); len(names) > 0 {
		return ", waiting for " + strings.Join(names, ", ")
	}
	return ""
}

// generationBehind tells that the controller has not seen the last change, so
// that the rest of the status speaks of another spec.
func generationBehind(obj *unstructured.Unstructured) (bool, string) {
	observed, ok := number(obj.Object, "status", "observedGeneration")
	if !ok || observed >= obj.GetGeneration() {
		return false, ""
	}
	return true, fmt.Sprintf("its controller has seen generation %d of %d", observed, obj.GetGeneration())
}

func byKstatus(obj *unstructured.Unstructured) Result {
	r, err := status.Compute(obj)
	if err != nil {
		return Result{Health: report.HealthUnknown, Message: "its status cannot be read: " + err.Error()}
	}
	switch r.Status {
	case status.CurrentStatus:
		return healthy(r.Message)
	case status.FailedStatus:
		return degraded("%s", r.Message)
	case status.InProgressStatus, status.TerminatingStatus:
		return progressing("%s", r.Message)
	default:
		return Result{Health: report.HealthUnknown, Message: r.Message}
	}
}

// builtIn groups are Kubernetes' own: their kinds either have a status that
// kstatus reads, or need none. Groups of its special interest groups, such as
// gateway.networking.k8s.io, are foreign: their kinds come by definition.
func builtIn(group string) bool {
	switch group {
	case "", "apps", "autoscaling", "batch", "extensions", "policy",
		"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io",
		"authentication.k8s.io", "authorization.k8s.io", "certificates.k8s.io",
		"coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
		"flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io",
		"node.k8s.io", "rbac.authorization.k8s.io", "resource.k8s.io",
		"scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io":
		return true
	}
	return false
}

// Worst is the health of several: Degraded before Unknown before Progressing
// before Healthy. Nothing at all is Healthy.
func Worst(all ...report.Health) report.Health {
	worst := report.HealthHealthy
	for _, h := range all {
		if badness[h] > badness[worst] {
			worst = h
		}
	}
	return worst
}

var badness = map[report.Health]int{
	report.HealthHealthy:     0,
	report.HealthProgressing: 1,
	report.HealthUnknown:     2,
	report.HealthDegraded:    3,
}

func groupKind(group, kind string) schema.GroupKind {
	return schema.GroupKind{Group: group, Kind: kind}
}

// number reads an integer however it was decoded.
func number(object map[string]any, fields ...string) (int64, bool) {
	v, found, err := unstructured.NestedFieldNoCopy(object, fields...)
	if err != nil || !found {
		return 0, false
	}
	switch n := v.(type) {
	case int64:
		return n, true
	case float64:
		return int64(n), true
	}
	return 0, false
}

// list does not copy: statuses are read often and never changed here.
func list(object map[string]any, fields ...string) []any {
	v, _, _ := unstructured.NestedFieldNoCopy(object, fields...)
	l, _ := v.([]any)
	return l
}

func text(object map[string]any, fields ...string) string {
	s, _, _ := unstructured.NestedString(object, fields...)
	return s
}
