package plan

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// Input is everything a Plan is made from.
type Input struct {
	Project, Application string
	Clusters             []Cluster
	// Next is what was decided for the application as it would be.
	Next assign.Plan
	// Leaving are clusters that would be kept from deleting all at once.
	Leaving assign.Leaving
	// Refused are the objects that the project may not deliver.
	Refused []report.Problem
	// Run is by which rollout the change would travel; nil: everywhere at once.
	Run *v1alpha1.RolloutRun
	// Waits is why nothing would begin now, as in a freeze.
	Waits string
	// Content reads a content by its digest.
	Content func(desired.Digest) (content.Bundle, error)
	// Lifecycle is what Kubernetes says of one of its own kinds; own tells that
	// the group is one of Kubernetes'.
	Lifecycle func(schema.GroupVersionKind) (l Lifecycle, own bool)
}

// Cluster is one cluster as it is and as it would be.
type Cluster struct {
	Name string
	// Before and After are what it is asked for; nil for nothing.
	Before, After *desired.Entry
	// Facts are nil when its agent has told none yet.
	Facts *v1alpha1.Facts
}

// Plan is what a change of one application would do. Its JSON is stable: fields
// are added, never renamed.
type Plan struct {
	Project     string `json:"project"`
	Application string `json:"application"`
	// Unchanged counts the clusters on which everything stays as it is.
	Unchanged int `json:"unchanged"`
	// Placement says in a sentence what was chosen.
	Placement string `json:"placement,omitempty"`
	// Gained would run it and do not; Lost run it and would not.
	Gained []string `json:"gained,omitempty"`
	Lost   []string `json:"lost,omitempty"`
	// Classes are the clusters with the same change, deletions first.
	Classes []Class `json:"classes,omitempty"`
	// Held are clusters that would lose it, too many at once to go by themselves.
	Held *Held `json:"held,omitempty"`
	// Refusals are why all or a part of it would not be delivered.
	Refusals []Refusal `json:"refusals,omitempty"`
	// APIs are kinds that clusters do not serve, or not for long any more.
	APIs    []API    `json:"apis,omitempty"`
	Rollout *Rollout `json:"rollout,omitempty"`
	// Policies are those of the clusters that its objects would break.
	Policies []Broken `json:"policies,omitempty"`
	// Waits is why nothing of it would begin now.
	Waits string `json:"waits,omitempty"`
	// Live is what members were found to be like, where they were asked.
	Live []Finding `json:"live,omitempty"`
	// Unknown are parts of which nothing can be said, and why.
	Unknown []Unknown `json:"unknown,omitempty"`
}

// Empty tells that nothing would change, as far as is known.
func (p *Plan) Empty() bool { return len(p.Classes) == 0 && len(p.Refusals) == 0 && p.Held == nil }

// Effect is what a change does to the application on a cluster.
type Effect string

// The effects, in the order in which they are told.
const (
	// EffectDelete: the cluster is left and what ran there is deleted.
	EffectDelete Effect = "Delete"
	// EffectOrphan: the cluster is left and what runs there stays.
	EffectOrphan Effect = "Orphan"
	EffectChange Effect = "Change"
	// EffectDeliver: the cluster does not run it yet.
	EffectDeliver Effect = "Deliver"
)

// Class is clusters with the same change.
type Class struct {
	Effect   Effect   `json:"effect"`
	Clusters []string `json:"clusters"`
	// From and To are names of Revisions.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Deleted, Changed, Created and Kept count objects; Objects names at most
	// MaxObjects of them, deletions first.
	Deleted int      `json:"deleted,omitempty"`
	Changed int      `json:"changed,omitempty"`
	Created int      `json:"created,omitempty"`
	Kept    int      `json:"kept,omitempty"`
	Objects []Object `json:"objects,omitempty"`
	// Held is why an agent would keep deletions back, and how many.
	Held      string `json:"held,omitempty"`
	HeldCount int    `json:"heldCount,omitempty"`
	// Settings are rules of delivery that change.
	Settings []Field `json:"settings,omitempty"`
	// Adopt says that what is there already would be taken over.
	Adopt bool `json:"adopt,omitempty"`
}

// Action is what would become of an object.
type Action string

// The actions; they are those of `atoll diff`, and Keep: the object is no longer
// asked for and stays, as its annotations say.
const (
	Delete Action = "Delete"
	Change Action = "Change"
	Create Action = "Create"
	Keep   Action = "Keep"
)

// Object is one object that would not stay as it is.
type Object struct {
	Ref    report.ObjectRef `json:"ref"`
	Action Action           `json:"action"`
	// Fields are at most MaxFields of FieldCount.
	Fields     []Field `json:"fields,omitempty"`
	FieldCount int     `json:"fieldCount,omitempty"`
}

// Field is one field that would change. A field that is not there before has no
// Old, one that would go has no New. Secret values are "(hidden)", and what is
// longer than MaxValue bytes of JSON is cut.
type Field struct {
	Path string `json:"path"`
	Old  any    `json:"old,omitempty"`
	New  any    `json:"new,omitempty"`

	at path
	// was and is tell null from nothing.
	was, is bool
}

// Limits of what is listed; the counts are always whole.
const (
	MaxObjects = 200
	MaxFields  = 50
	MaxValue   = 1024
)

// Held is clusters whose leaving waits for a person.
type Held struct {
	Clusters []string `json:"clusters"`
	Message  string   `json:"message"`
}

// Refusal is why something would not be delivered.
type Refusal struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Object is empty when all of it is refused.
	Object *report.ObjectRef `json:"object,omitempty"`
	// Clusters would keep what they have; empty when no cluster is chosen.
	Clusters []string `json:"clusters,omitempty"`
}

// Level is how bad it is about an API.
type Level string

// The levels.
const (
	// Missing: the objects cannot be applied there.
	Missing    Level = "Missing"
	Deprecated Level = "Deprecated"
)

// API is a kind that is not served on clusters, or is deprecated there.
type API struct {
	Level    Level              `json:"level"`
	Version  string             `json:"apiVersion"`
	Kind     string             `json:"kind"`
	Message  string             `json:"message"`
	Clusters []string           `json:"clusters"`
	Objects  []report.ObjectRef `json:"objects"`
}

// Broken is an object that breaks a policy which is delivered to the same clusters.
type Broken struct {
	Policy   string `json:"policy"`
	Binding  string `json:"binding,omitempty"`
	Severity string `json:"severity"`
	// Effect is what the API server does: Deny, Warn or Audit.
	Effect   string           `json:"effect"`
	Controls []string         `json:"controls,omitempty"`
	Ref      report.ObjectRef `json:"ref"`
	Message  string           `json:"message"`
	Clusters []string         `json:"clusters"`
}

// Rollout is how the change would travel.
type Rollout struct {
	// Waves follow each other; each names its clusters.
	Waves     []v1alpha1.RolloutWave `json:"waves"`
	OnFailure v1alpha1.FailurePolicy `json:"onFailure"`
	// Absent are not connected now, and are not waited for.
	Absent []string `json:"absent,omitempty"`
	// Phase is that of a rollout that is under way already.
	Phase v1alpha1.RolloutPhase `json:"phase,omitempty"`
}

// Unknown is clusters of which a part of the plan is not known.
type Unknown struct {
	Clusters []string `json:"clusters,omitempty"`
	Message  string   `json:"message"`
}
