package alert

import "time"

// Rule is one thing that a hub alerts of.
type Rule struct {
	Name     string
	Severity Severity
	// For is how long the state must have lasted: what passes by itself wakes nobody.
	For time.Duration
	// Meaning says in general when it holds.
	Meaning string
}

// The rules' names.
const (
	ClusterDisconnected      = "ClusterDisconnected"
	ClusterStale             = "ClusterStale"
	ClusterUnconfirmed       = "ClusterUnconfirmed"
	ClusterNotAccepted       = "ClusterNotAccepted"
	ClusterNeverJoined       = "ClusterNeverJoined"
	ClusterUnused            = "ClusterUnused"
	AgentStale               = "AgentStale"
	AgentCertificateLate     = "AgentCertificateNotRenewed"
	AgentUpgradeFailed       = "AgentUpgradeFailed"
	AgentVersionSkew         = "AgentVersionSkew"
	KubernetesVersionSkew    = "KubernetesVersionSkew"
	HubCertificateExpiring   = "HubCertificateExpiring"
	ApplicationDegraded      = "ApplicationDegraded"
	ApplicationUnplaced      = "ApplicationUnplaced"
	ApplicationRefused       = "ApplicationRefused"
	ApplicationFailed        = "ApplicationFailed"
	ApplicationHeld          = "ApplicationHeld"
	ApplicationDrifted       = "ApplicationDrifted"
	ApplicationNotConverging = "ApplicationNotConverging"
	DeletionHeld             = "DeletionHeld"
	SourceFailing            = "SourceFailing"
	RolloutHalted            = "RolloutHalted"
	RolloutRolledBack        = "RolloutRolledBack"
	RolloutWaiting           = "RolloutWaiting"
	RolloutPaused            = "RolloutPaused"
)

// Rules are all of them. examples/prometheus has the same for Prometheus.
var Rules = []Rule{
	{ClusterDisconnected, Critical, 5 * time.Minute, "a cluster's agent is not connected"},
	{ClusterStale, Warning, 5 * time.Minute, "a cluster's link is open, and its heartbeats are late"},
	{ClusterUnconfirmed, Warning, time.Hour, "a cluster waits to be confirmed to a hub that was restored or rebuilt"},
	{ClusterNotAccepted, Info, time.Hour, "an agent has enrolled and waits to be accepted"},
	{ClusterNeverJoined, Info, 24 * time.Hour, "a cluster is registered, and no agent ever connected"},
	{ClusterUnused, Info, 7 * 24 * time.Hour, "a cluster is registered for a week, connected, and no application is placed on it"},
	{AgentStale, Warning, 30 * 24 * time.Hour, "an agent has been away for a month, and its enrolment still counts"},
	{AgentCertificateLate, Warning, 0, "a connected agent should have renewed its certificate by now"},
	{AgentUpgradeFailed, Warning, 0, "the upgrade of an agent was taken back or refused"},
	{AgentVersionSkew, Warning, 0, "an agent is two or more minor versions from its hub; more than three are not supported"},
	{KubernetesVersionSkew, Info, 0, "a cluster's Kubernetes is more than three minor versions behind the newest of the fleet"},
	{HubCertificateExpiring, Critical, 0, "a certificate of the hub should have been renewed by now"},
	{ApplicationDegraded, Critical, 5 * time.Minute, "clusters report that an application does not work"},
	{ApplicationUnplaced, Critical, 5 * time.Minute, "no cluster is eligible for an application"},
	{ApplicationRefused, Warning, 5 * time.Minute, "an application, or its newest content, is refused"},
	{ApplicationFailed, Warning, 5 * time.Minute, "an application could not be applied on clusters"},
	{ApplicationHeld, Warning, 5 * time.Minute, "clusters hold an application until a person decides"},
	{ApplicationDrifted, Warning, 15 * time.Minute, "others have changed an application on clusters, and it is not put back"},
	{ApplicationNotConverging, Warning, 30 * time.Minute, "connected clusters are not in sync and healthy with an application, and report no failure either"},
	{DeletionHeld, Warning, 0, "deletions beyond the budget wait for a person"},
	{SourceFailing, Warning, 10 * time.Minute, "a source cannot be fetched, or its newest content is refused"},
	{RolloutHalted, Critical, 0, "a rollout was halted"},
	{RolloutRolledBack, Warning, 0, "a rollout was taken back"},
	{RolloutWaiting, Info, time.Hour, "a rollout waits for an approval"},
	{RolloutPaused, Info, 24 * time.Hour, "a rollout has been paused"},
}

// ruleOf is the rule of that name.
func ruleOf(name string) Rule {
	for _, r := range Rules {
		if r.Name == name {
			return r
		}
	}
	panic("alert: no rule is named " + name)
}
