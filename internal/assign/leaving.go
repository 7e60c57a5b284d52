package assign

import (
	"fmt"
	"slices"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// leavingShare is which part of its clusters an application may lose, objects
// included, by one edit of labels or placement; at least one cluster may go.
const leavingShare = 5

// Leaving are clusters that no longer match and would delete the application's
// objects, more at once than goes without a person's word.
type Leaving struct {
	Clusters []string
	// Digest names exactly these, for the annotation that allows them.
	Digest string
}

// HeldLeaving is what of a decision is held. Nothing is held when leaving
// deletes nothing, or when the application itself is being deleted.
func HeldLeaving(app *v1alpha1.Application, chosen []string, exists func(cluster string) bool) Leaving {
	if app.Spec.OnDelete != v1alpha1.Delete || app.DeletionTimestamp != nil {
		return Leaving{}
	}
	var leaving []string
	for _, c := range app.Status.Clusters {
		if exists(c) && !slices.Contains(chosen, c) {
			leaving = append(leaving, c)
		}
	}
	if len(leaving)+len(app.Status.Withdrawing) <= max(1, len(app.Status.Clusters)/leavingShare) {
		return Leaving{}
	}
	slices.Sort(leaving)
	l := Leaving{Clusters: leaving, Digest: desired.Sum([]byte("leaving " + strings.Join(leaving, " "))).Short()}
	if len(leaving) == 0 || desired.Allows(app.Annotations[v1alpha1.AnnotationAllowDeletion], l.Digest) {
		return Leaving{}
	}
	return l
}

// Why is the sentence for the condition.
func (l Leaving) Why(app string) string {
	return fmt.Sprintf("%s no longer match and would delete what %s runs there; held until: atoll allow-deletion app/%s",
		listed(l.Clusters), app, app)
}
