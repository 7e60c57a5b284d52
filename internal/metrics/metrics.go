// Package metrics shows Prometheus what a hub knows. How much there is does not
// grow with the fleet: everything is counted by state, and nothing has the name of
// a cluster or an application. Who may ask is decided where it is mounted.
package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/alert"
)

// Hub is what is shown of the hub itself.
type Hub struct {
	Version, Storage string
	Term             uint64
}

// Options are where the numbers come from.
type Options struct {
	Hub   Hub
	State func(context.Context) (alert.State, error)
	Now   func() time.Time
}

// atOnce is how many may ask at once: each counts the whole fleet.
const atOnce = 2

// New answers in Prometheus' text format, or in OpenMetrics' for who asks for it.
func New(o Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&fleet{o}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: atOnce, EnableOpenMetrics: true})
}

// describe is a metric of this package. Help is what docs/REFERENCE.md says too.
func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("atoll_"+name, help, labels, nil)
}

var (
	hubInfo      = describe("hub_info", "1, with the version of the hub that leads and how it stores", "version", "storage")
	hubTerm      = describe("hub_term", "how often a hub has begun to lead on this store")
	clusters     = describe("clusters", "registered clusters by the state of their connection", "connection")
	ready        = describe("clusters_ready", "clusters whose condition Ready is True")
	applications = describe("applications", "applications")
	conditions   = describe("application_conditions", "applications by condition and its status", "type", "status")
	syncs        = describe("application_places_sync", "pairs of an application and a cluster by sync", "sync")
	healths      = describe("application_places_health", "pairs of an application and a cluster by health", "health")
	silent       = describe("application_places_not_reported", "pairs of an application and a cluster of which there is no report")
	rollouts     = describe("rollouts", "applications with a rollout that is not complete, by its phase", "phase")
	alerts       = describe("alerts", "of how many subjects each rule alerts; 0 while it is silent", "alertname", "severity")
	expiry       = describe("certificate_expiry_timestamp_seconds", "when a certificate of the hub ends (Unix time)", "certificate")
	agentExpiry  = describe("agent_certificate_expiry_timestamp_seconds", "when the first certificate of a connected agent ends (Unix time)")
)

// fleet counts when it is asked.
type fleet struct{ Options }

// Describe is prometheus.Collector's.
func (f *fleet) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{hubInfo, hubTerm, clusters, ready, applications, conditions, syncs, healths, silent, rollouts, alerts, expiry, agentExpiry} {
		out <- d
	}
}

// Collect is prometheus.Collector's.
func (f *fleet) Collect(out chan<- prometheus.Metric) {
	state, err := f.State(context.Background()) // from the cache, which waits for nobody
	if err != nil {
		out <- prometheus.NewInvalidMetric(clusters, err)
		return
	}
	show := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	show(hubInfo, 1, f.Hub.Version, f.Hub.Storage)
	show(hubTerm, float64(f.Hub.Term))
	showClusters(show, state.Clusters)
	showApplications(show, state.Applications)
	showAlerts(show, alert.Evaluate(state, f.Now()))
	showCertificates(show, state)
}

type shower func(d *prometheus.Desc, value float64, labels ...string)

func showClusters(show shower, all []v1alpha1.Cluster) {
	states, well := map[v1alpha1.ConnectionState]int{}, 0
	for i := range all {
		state := all[i].Status.Connection.State
		if state == "" {
			state = v1alpha1.Pending
		}
		states[state]++
		if meta.IsStatusConditionTrue(all[i].Status.Conditions, v1alpha1.ConditionReady) {
			well++
		}
	}
	for _, state := range []v1alpha1.ConnectionState{v1alpha1.Connected, v1alpha1.Stale, v1alpha1.Disconnected, v1alpha1.Pending} {
		show(clusters, float64(states[state]), string(state))
	}
	show(ready, float64(well))
}

// shown are the conditions of applications that are counted.
var shown = []string{
	v1alpha1.ConditionAccepted, v1alpha1.ConditionFetched, v1alpha1.ConditionPlaced, v1alpha1.ConditionRolledOut,
	v1alpha1.ConditionSynced, v1alpha1.ConditionHealthy, v1alpha1.ConditionReady,
}

// phases are those of a rollout that is not complete.
var phases = []v1alpha1.RolloutPhase{
	v1alpha1.RolloutProgressing, v1alpha1.RolloutWaiting, v1alpha1.RolloutPaused, v1alpha1.RolloutHalted, v1alpha1.RolloutRollingBack, v1alpha1.RolloutRolledBack,
}

func showApplications(show shower, all []v1alpha1.Application) {
	type condition struct {
		kind   string
		status metav1.ConditionStatus
	}
	held, travelling, sum := map[condition]int{}, map[v1alpha1.RolloutPhase]int{}, v1alpha1.Counts{}
	for i := range all {
		for _, c := range all[i].Status.Conditions {
			held[condition{c.Type, c.Status}]++
			if c.Type == v1alpha1.ConditionRolledOut && c.Status == metav1.ConditionFalse {
				travelling[v1alpha1.RolloutPhase(c.Reason)]++
			}
		}
		add(&sum, all[i].Status.Counts)
	}
	show(applications, float64(len(all)))
	for _, kind := range shown {
		for _, status := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse} {
			show(conditions, float64(held[condition{kind, status}]), kind, string(status))
		}
	}
	for _, phase := range phases {
		show(rollouts, float64(travelling[phase]), string(phase))
	}
	for name, n := range map[string]int32{"InSync": sum.InSync, "Progressing": sum.Progressing, "Drifted": sum.Drifted, "Held": sum.Held, "Failed": sum.Failed} {
		show(syncs, float64(n), name)
	}
	for name, n := range map[string]int32{"Healthy": sum.Healthy, "Progressing": sum.HealthProgressing, "Degraded": sum.Degraded, "Unknown": sum.Unknown} {
		show(healths, float64(n), name)
	}
	show(silent, float64(sum.NotReported))
}

func add(sum *v1alpha1.Counts, n v1alpha1.Counts) {
	sum.InSync += n.InSync
	sum.Progressing += n.Progressing
	sum.Drifted += n.Drifted
	sum.Held += n.Held
	sum.Failed += n.Failed
	sum.Healthy += n.Healthy
	sum.HealthProgressing += n.HealthProgressing
	sum.Degraded += n.Degraded
	sum.Unknown += n.Unknown
	sum.NotReported += n.NotReported
}

func showAlerts(show shower, all []alert.Alert) {
	firing := map[string]int{}
	for _, a := range all {
		firing[a.Name] += a.Subjects()
	}
	for _, r := range alert.Rules {
		show(alerts, float64(firing[r.Name]), r.Name, string(r.Severity))
	}
}

func showCertificates(show shower, state alert.State) {
	first := time.Time{}
	for _, c := range state.Certificates {
		switch {
		case c.Problem != "": // what is not known is no number; it alerts
		case c.Cluster == "":
			show(expiry, float64(c.Expires.Unix()), c.Use)
		case !c.Late.IsZero() && (first.IsZero() || c.Expires.Before(first)):
			first = c.Expires
		}
	}
	if !first.IsZero() {
		show(agentExpiry, float64(first.Unix()))
	}
}
