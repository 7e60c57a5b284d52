// Package fleet is the API group fleet.atoll.dev/v1alpha1: what the hub knows
// of many clusters at once and does not store as objects, and the client that
// the CLI uses. The handlers are internal/server's.
//
// Every answer says how old each part is, and a partial one names the clusters
// that did not answer.
//
//	GET  /overview                                            Overview
//	GET  /alerts                                              Alerts
//	GET  /certificates                                        Certificates
//	GET  /metrics                                             Prometheus' text format
//	GET  /namespaces/P/applications/A/clusters                ApplicationClusters
//	GET  /namespaces/P/applications/A/explain[?cluster=C]     explain.Chain
//	GET  /namespaces/P/applications/A/objects[?cluster=C]     ApplicationObjects
//	GET  /namespaces/P/applications/A/diff[?cluster=C]        ApplicationDiff
//	POST /namespaces/P/applications/A/sync[?cluster=C][&force=true]  ApplicationSync
//	GET  /namespaces/P/applications/A/events                  ApplicationEvents
//	POST /namespaces/P/contents                               Upload → Receipt
//	POST /namespaces/P/plans                                  PlanRequest → PlanAnswer
//	GET  /clusters/C/report                                   ClusterReport
//	GET  /clusters/C/memory                                   recovery.Memory
//	POST /clusters/C/memory                                   recovery.Request → Receipt
//	POST /clusters/C/join                                     JoinRequest → JoinTicket
//	 *   /clusters/C/proxy/…                                  the member's own API, as the caller
package fleet

import (
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/certificates"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

// GroupVersion is served beside atoll.dev by the same API server.
var GroupVersion = schema.GroupVersion{Group: "fleet.atoll.dev", Version: "v1alpha1"}

// Path is the prefix of every call.
const Path = "/apis/fleet.atoll.dev/v1alpha1"

// ClusterState is one application on one cluster, with its ages.
type ClusterState struct {
	Cluster    string                   `json:"cluster"`
	Connection v1alpha1.ConnectionState `json:"connection"`
	// AsOf is when the hub received what State says; zero when it never did.
	AsOf time.Time `json:"asOf,omitzero"`
	// Current is false when State speaks of another entry than the present
	// one, or is from before this hub's term: its health then reads Unknown.
	Current bool         `json:"current"`
	State   report.State `json:"state"`
	// Verdict is why the cluster was chosen.
	Verdict placement.Verdict `json:"verdict"`
	// Withdrawing tells that the cluster left the placement.
	Withdrawing bool `json:"withdrawing,omitempty"`
}

// ApplicationSync says which agents apply everything once more.
type ApplicationSync struct {
	Clusters []ClusterSync `json:"clusters"`
	Silent   []Silence     `json:"silent,omitempty"`
}

// ClusterSync is one agent's word that it has begun.
type ClusterSync struct {
	Cluster string `json:"cluster"`
}

// ApplicationClusters is the application on each of its clusters.
type ApplicationClusters struct {
	Project     string         `json:"project"`
	Application string         `json:"application"`
	Revision    string         `json:"revision,omitempty"`
	Clusters    []ClusterState `json:"clusters"`
	// Leaving are clusters that no longer match and are held, because too many
	// would delete the application's objects at once; LeavingDigest allows them.
	Leaving       []string `json:"leaving,omitempty"`
	LeavingDigest string   `json:"leavingDigest,omitempty"`
}

// Silence names clusters that did not answer, with the reason.
type Silence struct {
	Cluster string `json:"cluster"`
	Reason  string `json:"reason"`
}

// Object is one delivered object on one cluster, as the agent answers it.
type Object struct {
	Ref     report.ObjectRef `json:"ref"`
	UID     string           `json:"uid,omitempty"`
	Sync    report.Sync      `json:"sync"`
	Health  report.Health    `json:"health"`
	Message string           `json:"message,omitempty"`
	// Owned are the objects that the cluster made from it, such as a
	// Deployment's ReplicaSets and pods.
	Owned []Object `json:"owned,omitempty"`
}

// ClusterObjects are one cluster's answer.
type ClusterObjects struct {
	Cluster string    `json:"cluster"`
	AsOf    time.Time `json:"asOf"`
	Objects []Object  `json:"objects"`
}

// ApplicationObjects is the tree of delivered objects.
type ApplicationObjects struct {
	Clusters []ClusterObjects `json:"clusters"`
	Silent   []Silence        `json:"silent,omitempty"`
}

// ObjectDiff is how one object differs from what is asked. Secret values are
// "(hidden)".
type ObjectDiff struct {
	Ref report.ObjectRef `json:"ref"`
	// Action is Create, Change or Delete: what a sync would do.
	Action  string          `json:"action"`
	Changes []report.Change `json:"changes,omitempty"`
	Message string          `json:"message,omitempty"`
}

// ClusterDiff is one cluster's answer.
type ClusterDiff struct {
	Cluster string       `json:"cluster"`
	AsOf    time.Time    `json:"asOf"`
	Objects []ObjectDiff `json:"objects"`
}

// ApplicationDiff compares what is asked with what is live.
type ApplicationDiff struct {
	Clusters []ClusterDiff `json:"clusters"`
	Silent   []Silence     `json:"silent,omitempty"`
}

// Event is one thing that happened, from the hub or from a member.
type Event struct {
	At      time.Time `json:"at"`
	Cluster string    `json:"cluster,omitempty"`
	// Type is Normal or Warning.
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Object  string `json:"object"`
	Message string `json:"message"`
	Count   int32  `json:"count,omitempty"`
}

// ApplicationEvents is newest last.
type ApplicationEvents struct {
	Events []Event   `json:"events"`
	Silent []Silence `json:"silent,omitempty"`
}

// ClusterReport is everything the hub holds from one cluster.
type ClusterReport struct {
	Cluster    string                   `json:"cluster"`
	Connection v1alpha1.ConnectionState `json:"connection"`
	AsOf       time.Time                `json:"asOf,omitzero"`
	States     []report.State           `json:"states"`
}

// File is one manifest file of an Upload.
type File struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// Upload is a set of manifest files. Secret values are split out before
// anything is hashed or stored.
type Upload struct {
	Files []File `json:"files"`
	// Origin tells people where it came from.
	Origin string `json:"origin,omitempty"`
}

// MaxUpload is the largest body of an Upload, in bytes.
const MaxUpload = 64 << 20

// Receipt answers an Upload: the content is durable.
type Receipt struct {
	Digest  string `json:"digest"`
	Objects int    `json:"objects"`
	Bytes   int64  `json:"bytes"`
	Secrets int    `json:"secrets"`
	// Violations are objects that the project may not deliver; the content is
	// then refused and Digest is empty.
	Violations []report.Problem `json:"violations,omitempty"`
}

// JoinRequest asks for a token for one cluster.
type JoinRequest struct {
	Profile v1alpha1.Profile `json:"profile,omitempty"`
}

// JoinTicket is what an agent needs to join; the token works once, for one
// hour, for this cluster.
type JoinTicket struct {
	Cluster string    `json:"cluster"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
	// Address is the agents' port, as host:port.
	Address string `json:"address"`
	// Roots are the agents' authority to pin, as JSON; the agent takes it as it is.
	Roots string `json:"roots"`
}

// Overview is `atoll status`: what needs a person, worst first.
type Overview struct {
	At           time.Time      `json:"at"`
	Hub          HubInfo        `json:"hub"`
	Clusters     ClusterTotals  `json:"clusters"`
	Applications AppTotals      `json:"applications"`
	Frozen       []Attention    `json:"frozen,omitempty"`
	Down         []ClusterIssue `json:"down,omitempty"`
	Held         []Attention    `json:"held,omitempty"`
	Failing      []Attention    `json:"failing,omitempty"`
	Decisions    []Attention    `json:"decisions,omitempty"`
	// Alerts counts what `atoll alerts` lists.
	Alerts AlertTotals `json:"alerts,omitzero"`
}

// AlertTotals counts alerts by severity.
type AlertTotals struct {
	Critical int `json:"critical,omitempty"`
	Warning  int `json:"warning,omitempty"`
	Info     int `json:"info,omitempty"`
	// Worst is the first of them; nil without any.
	Worst *alert.Alert `json:"worst,omitempty"`
}

// Total is all of them.
func (t AlertTotals) Total() int { return t.Critical + t.Warning + t.Info }

// Alerts are what the hub alerts of, worst first.
type Alerts struct {
	At     time.Time     `json:"at"`
	Alerts []alert.Alert `json:"alerts"`
}

// Certificates are those of the hub and of its agents, as the hub knows them; what
// ends first comes first.
type Certificates struct {
	At           time.Time                  `json:"at"`
	Certificates []certificates.Certificate `json:"certificates"`
}

// HubInfo tells which hub answered.
type HubInfo struct {
	Version     string `json:"version"`
	Incarnation string `json:"incarnation"`
	Term        uint64 `json:"term"`
	// Storage is embedded, etcd or kubernetes.
	Storage string `json:"storage"`
	// Namespace is where the hub keeps its own, such as kubeconfigs of direct
	// clusters.
	Namespace string `json:"namespace"`
}

// ClusterTotals counts clusters by state.
type ClusterTotals struct {
	Total        int `json:"total"`
	Connected    int `json:"connected"`
	Stale        int `json:"stale"`
	Disconnected int `json:"disconnected"`
	Pending      int `json:"pending"`
	Ready        int `json:"ready"`
}

// AppTotals counts application × cluster pairs unless said otherwise.
type AppTotals struct {
	Applications int             `json:"applications"`
	Counts       v1alpha1.Counts `json:"counts"`
}

// ClusterIssue is a cluster that is not connected and what that affects.
type ClusterIssue struct {
	Cluster     string                   `json:"cluster"`
	State       v1alpha1.ConnectionState `json:"state"`
	LastContact time.Time                `json:"lastContact,omitzero"`
	// Affects are the applications placed there, "project/name".
	Affects []string `json:"affects,omitempty"`
	Message string   `json:"message"`
	// Do is the command that helps.
	Do string `json:"do,omitempty"`
}

// Attention is one thing that waits for a person.
type Attention struct {
	Subject string    `json:"subject"`
	Cluster string    `json:"cluster,omitempty"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Since   time.Time `json:"since,omitzero"`
	Do      string    `json:"do,omitempty"`
}
