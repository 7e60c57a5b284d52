package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
)

// conditionFor maps the words of --for to the conditions behind them.
var conditionFor = map[string]string{
	"accepted": v1alpha1.ConditionAccepted,
	"ready":    v1alpha1.ConditionReady,
	"joined":   v1alpha1.ConditionJoined,
	"placed":   v1alpha1.ConditionPlaced,
	"synced":   v1alpha1.ConditionSynced,
	"healthy":  v1alpha1.ConditionHealthy,
}

// waitState is which of the wanted states an object is not in, and how far it is.
func waitState(u *unstructured.Unstructured, wants []string) (missing []string, detail string) {
	if u.GetKind() == clusterKind.name {
		cl, err := as[v1alpha1.Cluster](u)
		if err != nil {
			return wants, err.Error()
		}
		return clusterMissing(cl, wants), strings.ToLower(string(cl.Status.Connection.State))
	}
	app, err := as[v1alpha1.Application](u)
	if err != nil {
		return wants, err.Error()
	}
	return applicationMissing(app, wants), deliveryDetail(app.Status)
}

func clusterMissing(cl *v1alpha1.Cluster, wants []string) []string {
	return slices.DeleteFunc(slices.Clone(wants), func(want string) bool {
		switch want {
		case "connected":
			return cl.Status.Connection.State == v1alpha1.Connected
		case "accepted":
			return cl.Spec.Accepted
		case "joined":
			return cl.Status.Identity != nil
		default:
			return holds(cl.Status.Conditions, conditionFor[want], cl.Generation)
		}
	})
}

func applicationMissing(app *v1alpha1.Application, wants []string) []string {
	return slices.DeleteFunc(slices.Clone(wants), func(want string) bool {
		// A status that speaks of an older generation says nothing of this one.
		return app.Status.ObservedGeneration >= app.Generation && holds(app.Status.Conditions, conditionFor[want], app.Generation)
	})
}

func holds(conditions []metav1.Condition, name string, generation int64) bool {
	for _, c := range conditions {
		if c.Type == name {
			return c.Status == metav1.ConditionTrue && (c.ObservedGeneration == 0 || c.ObservedGeneration >= generation)
		}
	}
	return false
}

// deliveryDetail is "3 of 5 in sync, 2 healthy, 1 held".
func deliveryDetail(s v1alpha1.ApplicationStatus) string {
	n := s.Counts
	if n.Placed == 0 {
		return "on no cluster yet"
	}
	parts := []string{fmt.Sprintf("%d of %d in sync", n.InSync, n.Placed), fmt.Sprintf("%d healthy", n.Healthy)}
	return strings.Join(append(parts, exceptionCounts(n)...), ", ")
}

// exceptionCounts are the counts that are not as they should be, worst first.
func exceptionCounts(n v1alpha1.Counts) []string {
	var parts []string
	for _, p := range []struct {
		n    int32
		word string
	}{{n.Failed, "failed"}, {n.Held, "held"}, {n.Drifted, "drifted"}, {n.Degraded, "degraded"}, {n.Progressing, "progressing"}, {n.HealthProgressing, "getting ready"}, {n.Unknown, "unknown"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return parts
}

// connectionSentence is what is known of a cluster's link.
func connectionSentence(now time.Time, cl *v1alpha1.Cluster) string {
	seen := time.Time{}
	if t := cl.Status.Connection.LastContact; t != nil {
		seen = t.Time
	}
	switch {
	case cl.Status.Identity == nil:
		return fmt.Sprintf("No agent has asked to join %s yet; install it with: atoll join %s", cl.Name, cl.Name)
	case !cl.Spec.Accepted:
		return fmt.Sprintf("The agent of %s waits to be accepted; do it with: atoll accept %s", cl.Name, cl.Name)
	case cl.Status.Connection.State == v1alpha1.Connected:
		return cl.Name + " is connected."
	default:
		return fmt.Sprintf("%s is %s, last seen %s; what runs there keeps running.", cl.Name, strings.ToLower(orNone(string(cl.Status.Connection.State))), ago(now, seen))
	}
}
