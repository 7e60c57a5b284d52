package placement

import (
	"cmp"
	"maps"
	"slices"

	"atoll.dev/atoll/api/v1alpha1"
)

// Reason is why a cluster was chosen or not, or why a Decision is what it is.
type Reason string

// The reasons for one cluster.
const (
	// Chosen and Kept are the two ways to be in; Kept was chosen before.
	Chosen Reason = "Chosen"
	Kept   Reason = "Kept"

	NotAccepted        Reason = "NotAccepted"
	NotJoined          Reason = "NotJoined"
	BeingDeleted       Reason = "BeingDeleted"
	OutsideProject     Reason = "OutsideProject"
	TenantMismatch     Reason = "TenantMismatch"
	ResidencyViolation Reason = "ResidencyViolation"
	FactsMismatch      Reason = "FactsMismatch"
	ReadOnlyProfile    Reason = "ReadOnlyProfile"
	NameNotListed      Reason = "NameNotListed"
	LabelsMismatch     Reason = "LabelsMismatch"
	WhereFalse         Reason = "WhereFalse"
	WhereFailed        Reason = "WhereFailed"
	FactsMissing       Reason = "FactsMissing"
	Tainted            Reason = "Tainted"
	Cordoned           Reason = "Cordoned"
	CountReached       Reason = "CountReached"
	NotFound           Reason = "NotFound"
	NothingAsked       Reason = "NothingAsked"
)

// The reasons for a whole Decision.
const (
	Placed        Reason = "Placed"
	TooFew        Reason = "TooFewClusters"
	NoMatch       Reason = "NoClusterMatches"
	EmptyRule     Reason = "EmptyRule"
	NoProject     Reason = "ProjectMissing"
	InvalidBounds Reason = "InvalidProject"
)

// Refusal is one reason against a cluster, with a sentence for people.
type Refusal struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
}

// Verdict is the answer for one cluster. Reason and Message are the first
// filter that failed, or why it is in; Also lists the later filters that would
// have refused it too.
type Verdict struct {
	Cluster string    `json:"cluster"`
	Chosen  bool      `json:"chosen"`
	Reason  Reason    `json:"reason"`
	Message string    `json:"message"`
	Also    []Refusal `json:"also,omitempty"`
}

// Decision is where an application runs and why.
type Decision struct {
	// Chosen is sorted by name.
	Chosen []string `json:"chosen"`
	// Why has a Verdict for every cluster of the fleet, and for every name in
	// the rule or the previous choice that no cluster bears.
	Why map[string]Verdict `json:"why"`
	// Empty is true when nothing was chosen.
	Empty bool `json:"empty,omitempty"`
	// Missing is how many clusters Count asked for beyond those eligible.
	Missing int `json:"missing,omitempty"`
	// Left are clusters of the previous choice that are not chosen any more.
	Left []string `json:"left,omitempty"`
	// Reason and Message summarise the choice for the condition Placed.
	Reason  Reason `json:"reason"`
	Message string `json:"message"`
}

// Verdicts is Why in an order for people: chosen first, then by name.
func (d Decision) Verdicts() []Verdict {
	return slices.SortedFunc(maps.Values(d.Why), func(a, b Verdict) int {
		if a.Chosen != b.Chosen {
			if a.Chosen {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Cluster, b.Cluster)
	})
}

// Input is everything a Decision depends on.
type Input struct {
	Rule v1alpha1.PlacementRule
	// Project bounds the rule; without one nothing is chosen.
	Project  *v1alpha1.Project
	Clusters []v1alpha1.Cluster
	// Previous are the names chosen last time; they stay while eligible.
	Previous []string
}

// Decide compiles the rule and decides; the error tells what is wrong with the
// rule. Callers that decide often keep the Rule of Compile instead.
func Decide(in Input) (Decision, error) {
	rule, err := Compile(in.Rule)
	if err != nil {
		return Decision{}, err
	}
	return rule.Decide(in.Project, in.Clusters, in.Previous), nil
}
