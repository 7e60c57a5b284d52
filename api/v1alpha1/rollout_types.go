package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Rollout is how a change travels over an application's clusters. Without it
// every cluster is told at once.
type Rollout struct {
	// Waves follow each other: one begins when the one before has passed.
	// Clusters that are in none come last, in a wave of their own.
	// Default: one cluster, then 25%, then the rest.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Waves []Wave `json:"waves,omitempty"`
	// MaxUnavailable is how many clusters of a wave may be under way at once,
	// a number or a share of the wave such as "10%", rounded up. Default: all.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 : self.matches('^([1-9][0-9]?|100)%$')",message="give a number of clusters, at least 1, or a share from 1% to 100%"
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// ProgressDeadline is for how long a wave may make no progress before the
	// clusters that hold it back count as failed. Default: 10m.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('168h')",message="give 10s to 168h"
	ProgressDeadline *metav1.Duration `json:"progressDeadline,omitempty"`
	// OnFailure says what a failed cluster does to the rollout: Halt begins no
	// further cluster and waits for a person or another change, Rollback takes
	// every cluster that was begun back to what it ran before.
	// +kubebuilder:validation:Enum=Halt;Rollback
	// +kubebuilder:default=Halt
	OnFailure FailurePolicy `json:"onFailure,omitempty"`
	// Paused begins no further cluster while it is set.
	Paused bool `json:"paused,omitempty"`
	// Windows are when clusters may be told of a change. Outside of them none
	// begins, and those that were begun are watched as always.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	Windows []Window `json:"windows,omitempty"`
}

// Window is a time that comes again, by the clocks of a place.
type Window struct {
	// Schedule is when it opens, five fields as cron has them: minute, hour, day
	// of the month, month, day of the week, such as "0 2 * * 1-5".
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=256
	Schedule string `json:"schedule"`
	// Duration is for how long it stays open, 1m to 168h.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('168h')",message="give 1m to 168h"
	Duration metav1.Duration `json:"duration"`
	// TimeZone is the name of a place, such as Europe/Berlin. Default: UTC.
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
	// Deny makes it a time in which no cluster begins, whatever other windows say.
	// Where all windows deny, the rest of the time is open.
	Deny bool `json:"deny,omitempty"`
}

// FailurePolicy is Halt or Rollback.
type FailurePolicy string

// The failure policies.
const (
	Halt     FailurePolicy = "Halt"
	Rollback FailurePolicy = "Rollback"
)

// Wave is a part of the clusters: those that a selector matches, or as many as
// bring all clusters reached so far to a share or a count, or both.
//
// +kubebuilder:validation:XValidation:rule="(has(self.clusters) && size(self.clusters) > 0) || has(self.share) || has(self.count)",message="give clusters (a label selector), share or count"
// +kubebuilder:validation:XValidation:rule="!has(self.share) || !has(self.count)",message="give share or count, not both"
type Wave struct {
	// Clusters is a label selector in kubectl's syntax.
	// +kubebuilder:validation:MaxLength=1024
	Clusters string `json:"clusters,omitempty"`
	// Share of the application's clusters that are reached when the wave is
	// through, such as "25%", rounded up; with clusters, of those it matches.
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]?|100)%$`
	Share string `json:"share,omitempty"`
	// Count is the same as a number.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Count *int32 `json:"count,omitempty"`
	// Soak is for how long the whole wave must stay in sync and healthy before
	// the next begins.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('720h')",message="give 0s to 720h"
	Soak *metav1.Duration `json:"soak,omitempty"`
	// Approval has the wave wait for `atoll rollout promote`.
	Approval bool `json:"approval,omitempty"`
	// Gates must pass on every cluster of the wave, once it has soaked, before the
	// next wave begins. One that does not for as long as progressDeadline counts as
	// a failure.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	Gates []Gate `json:"gates,omitempty"`
}

// Gate is a condition beyond health.
type Gate struct {
	// Name is for people who read why a wave waits.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// CEL is an expression over `cluster` (name, labels, provider, region,
	// jurisdiction) and what it reports of the version, `report` (objects, applied,
	// ready, assumed, corrections, drifted, verification), and with prometheus over
	// `value`. It must be true.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	CEL string `json:"cel"`
	// Prometheus is where `value` comes from.
	Prometheus *PrometheusQuery `json:"prometheus,omitempty"`
}

// PrometheusQuery asks for one number, for each cluster of the wave.
type PrometheusQuery struct {
	// URL is that of a server with Prometheus' HTTP API, which the hub can reach.
	// +kubebuilder:validation:Pattern=`^https?://[^/@?#\s]+(/[^?#\s]*)?$`
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
	// Query is PromQL that gives one number; ${cluster} stands for the cluster's
	// name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query"`
}

// RolloutRun records how one change travels over an application's clusters. The
// hub writes it; people steer it by spec.control, which `atoll rollout` writes.
// Its name is APPLICATION-NUMBER.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=atrun,categories=atoll
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Application",type=string,JSONPath=`.spec.plan.application`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Wave",type=string,JSONPath=`.status.waves`
// +kubebuilder:printcolumn:name="Begun",type=integer,JSONPath=`.status.started`
// +kubebuilder:printcolumn:name="Passed",type=integer,JSONPath=`.status.passed`
// +kubebuilder:printcolumn:name="Clusters",type=integer,JSONPath=`.status.clusters`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RolloutRun struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RolloutRunSpec   `json:"spec"`
	Status RolloutRunStatus `json:"status,omitempty"`
}

// RolloutRunSpec is what was decided when the change was admitted, and what
// people said since.
type RolloutRunSpec struct {
	Plan RolloutPlan `json:"plan"`
	// Control is what people said of this run.
	Control RolloutControl `json:"control,omitempty"`
}

// RolloutPlan is frozen: clusters that come or go later change nothing in it.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="what a rollout does is decided when it begins; change the Application instead"
type RolloutPlan struct {
	// +kubebuilder:validation:MaxLength=53
	Application string `json:"application"`
	// Number counts the application's runs.
	// +kubebuilder:validation:Minimum=1
	Number int64 `json:"number"`
	// Target is what the clusters are to run.
	Target Version `json:"target"`
	// Stable is what clusters run that are chosen before the run is through;
	// absent when there is nothing to fall back to.
	Stable *Version `json:"stable,omitempty"`
	// Before is what the clusters ran.
	// +listType=atomic
	Before []VersionGroup `json:"before,omitempty"`
	// Waves name the clusters in the order of their turns.
	// +listType=atomic
	Waves []RolloutWave `json:"waves"`
	// Absent were not connected when the run began; nothing is expected of
	// them until they are.
	// +listType=atomic
	Absent []string `json:"absent,omitempty"`
	// MaxUnavailable, ProgressDeadline and OnFailure are the Rollout's.
	// +kubebuilder:validation:XIntOrString
	MaxUnavailable   *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	ProgressDeadline metav1.Duration     `json:"progressDeadline"`
	OnFailure        FailurePolicy       `json:"onFailure"`
	// Cause tells people what made it begin.
	// +kubebuilder:validation:MaxLength=1024
	Cause string `json:"cause,omitempty"`
}

// Version is everything of an application that changes what its pods are. What
// else its spec says, such as drift and deletion rules, reaches all clusters at
// once.
type Version struct {
	// Digest is of the content, and names the Revision.
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest"`
	// Content is the content's own digest where Digest is of a revision with
	// overrides, for clusters that all run this one.
	// +kubebuilder:validation:Pattern=`^(sha256:[0-9a-f]{64})?$`
	// +kubebuilder:validation:MaxLength=71
	Content string `json:"content,omitempty"`
	// Variants are the contents by cluster where they run several.
	// +listType=atomic
	Variants []VersionVariant `json:"variants,omitempty"`
	// Namespace, LateBinding and Variables are those of the spec at that time.
	Namespace   string            `json:"namespace,omitempty"`
	LateBinding bool              `json:"lateBinding,omitempty"`
	Variables   map[string]string `json:"variables,omitempty"`
}

// VersionVariant is the clusters that a version brings one content.
type VersionVariant struct {
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Content string `json:"content"`
	// +listType=atomic
	Clusters []string `json:"clusters"`
}

// VersionGroup is the clusters that ran one version.
type VersionGroup struct {
	Version Version `json:"version"`
	// +listType=atomic
	Clusters []string `json:"clusters"`
}

// RolloutWave is one wave with its clusters frozen.
type RolloutWave struct {
	// +listType=atomic
	Clusters []string        `json:"clusters"`
	Soak     metav1.Duration `json:"soak,omitempty"`
	Approval bool            `json:"approval,omitempty"`
	// +listType=map
	// +listMapKey=name
	Gates []Gate `json:"gates,omitempty"`
}

// RolloutControl only grows, so that a word said twice is said once.
type RolloutControl struct {
	// Promoted is how many waves may begin without waiting for approval, soak
	// or absent clusters of the ones before.
	// +kubebuilder:validation:Minimum=0
	Promoted int32 `json:"promoted,omitempty"`
	// Resumed counts how often a halted run was told to go on.
	// +kubebuilder:validation:Minimum=0
	Resumed int32 `json:"resumed,omitempty"`
	// Aborted takes all clusters back to what they ran before.
	Aborted bool `json:"aborted,omitempty"`
	// Paused begins no further cluster while it is set.
	Paused bool `json:"paused,omitempty"`
}

// RolloutPhase is how far a run is.
type RolloutPhase string

// The phases. The last three are final.
const (
	RolloutProgressing RolloutPhase = "Progressing"
	RolloutWaiting     RolloutPhase = "Waiting"
	RolloutPaused      RolloutPhase = "Paused"
	RolloutHalted      RolloutPhase = "Halted"
	RolloutRollingBack RolloutPhase = "RollingBack"
	RolloutComplete    RolloutPhase = "Complete"
	RolloutRolledBack  RolloutPhase = "RolledBack"
	RolloutSuperseded  RolloutPhase = "Superseded"
)

// Final tells that nothing of the run happens any more.
func (p RolloutPhase) Final() bool {
	return p == RolloutComplete || p == RolloutRolledBack || p == RolloutSuperseded
}

// RolloutRunStatus is how far the run is. Nothing in it is per cluster: the
// clusters that were begun are the first Started ones of all waves together.
type RolloutRunStatus struct {
	Phase RolloutPhase `json:"phase,omitempty"`
	// Wave counts from 0; Waves says it for people, "2/3".
	Wave  int32  `json:"wave,omitempty"`
	Waves string `json:"waves,omitempty"`
	// Started is how many clusters were told of the target, Passed how many of
	// them are in sync and healthy with it, of Clusters in all.
	Started  int32 `json:"started,omitempty"`
	Passed   int32 `json:"passed,omitempty"`
	Clusters int32 `json:"clusters,omitempty"`
	// Message is why it is where it is.
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// Failed are clusters that made it halt or go back, at most ten.
	// +listType=atomic
	Failed []string `json:"failed,omitempty"`
	// ProgressAt is when a cluster was begun or passed last; absent while none is
	// waited for.
	ProgressAt *metav1.Time `json:"progressAt,omitempty"`
	// HealthyAt is since when the whole wave is in sync and healthy, FailingAt
	// since when a cluster fails.
	HealthyAt *metav1.Time `json:"healthyAt,omitempty"`
	FailingAt *metav1.Time `json:"failingAt,omitempty"`
	// GatedAt is since when gates hold the wave back.
	GatedAt *metav1.Time `json:"gatedAt,omitempty"`
	// Resumed is the control's count that was obeyed.
	Resumed    int32        `json:"resumed,omitempty"`
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
}

// RolloutRunList is a list of RolloutRuns.
//
// +kubebuilder:object:root=true
type RolloutRunList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RolloutRun `json:"items"`
}
