package plan

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/policy"
)

// heldDeletions is how many of the deletions an agent would hold back, and why;
// zero when none. It is the agent's rule over what the hub delivers: what was
// allowed beforehand, and what the sync before deleted, only the agent knows.
func heldDeletions(next *desired.Entry, changes []Object, left int) (int, string) {
	deletions := slices.DeleteFunc(slices.Clone(changes), func(o Object) bool { return o.Action != Delete })
	budget := int(next.Policy.DeletionBudget)
	switch {
	case len(deletions) == 0:
		return 0, ""
	case left == 0 && !next.Withdrawn:
		return len(deletions), "the source suddenly yields nothing"
	case len(deletions) > budget:
		return len(deletions), fmt.Sprintf("one sync may delete %d", budget)
	}
	named := 0
	for _, o := range deletions {
		if policy.NeedsConfirmation(schema.GroupKind{Group: o.Ref.Group, Kind: o.Ref.Kind}) {
			named++
		}
	}
	if named == 0 {
		return 0, ""
	}
	return named, "Namespaces, CustomResourceDefinitions and volumes are deleted only when a person names them"
}
