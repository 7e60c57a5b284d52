package assign

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/rollout"
)

// History is how many Revisions of an application are kept beside the one that
// is delivered.
const History = 20

// Outdated are the Revisions that no history keeps and no pin or recorded
// rollout names. A Revision whose application is gone is its owner's
// garbage, not ours.
func Outdated(apps []v1alpha1.Application, revisions []v1alpha1.Revision, runs []v1alpha1.RolloutRun) map[types.NamespacedName]bool {
	delivered := map[types.NamespacedName]bool{}
	known := map[types.NamespacedName]bool{}
	for i := range apps {
		app := &apps[i]
		known[types.NamespacedName{Namespace: app.Namespace, Name: app.Name}] = true
		delivered[types.NamespacedName{Namespace: app.Namespace, Name: app.Status.Revision}] = true
		for _, pin := range app.Spec.Pins {
			delivered[types.NamespacedName{Namespace: app.Namespace, Name: pin.Revision}] = true
		}
	}
	for i := range runs {
		plan := &runs[i].Spec.Plan
		for _, v := range rollout.Versions(plan) {
			delivered[types.NamespacedName{Namespace: runs[i].Namespace, Name: desired.RevisionName(plan.Application, desired.Digest(v.Digest))}] = true
		}
	}
	byApp := map[types.NamespacedName][]*v1alpha1.Revision{}
	for i := range revisions {
		r := &revisions[i]
		app := types.NamespacedName{Namespace: r.Namespace, Name: r.Spec.Application}
		if known[app] && !delivered[types.NamespacedName{Namespace: r.Namespace, Name: r.Name}] {
			byApp[app] = append(byApp[app], r)
		}
	}
	outdated := map[types.NamespacedName]bool{}
	for _, list := range byApp {
		slices.SortFunc(list, func(a, b *v1alpha1.Revision) int {
			return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
		})
		for _, r := range list[min(len(list), History):] {
			outdated[types.NamespacedName{Namespace: r.Namespace, Name: r.Name}] = true
		}
	}
	return outdated
}

// Stored is a content in the depot.
type Stored struct {
	Project string
	Digest  desired.Digest
}

// Used are the contents that something refers to: sources, Revisions that are
// not outdated, and rollouts, for a Revision is recorded only once no cluster is
// refused, and may be deleted by hand.
func Used(apps []v1alpha1.Application, revisions []v1alpha1.Revision, runs []v1alpha1.RolloutRun, outdated map[types.NamespacedName]bool) map[Stored]bool {
	used := map[Stored]bool{}
	for i := range apps {
		if c := apps[i].Spec.Source.Content; c != nil {
			used[Stored{apps[i].Namespace, desired.Digest(c.Digest)}] = true
		}
		if f := apps[i].Status.Source; f != nil {
			used[Stored{apps[i].Namespace, desired.Digest(f.Digest)}] = true
			useRendered(used, apps[i].Namespace, f.Variants)
		}
		for _, v := range apps[i].Status.Variants {
			used[Stored{apps[i].Namespace, desired.Digest(v.Content)}] = true
		}
	}
	for i := range revisions {
		r := &revisions[i]
		if !outdated[types.NamespacedName{Namespace: r.Namespace, Name: r.Name}] {
			used[Stored{r.Namespace, desired.Digest(cmp.Or(r.Spec.Content, r.Spec.Digest))}] = true
			useRendered(used, r.Namespace, r.Spec.Variants)
		}
	}
	for i := range runs {
		for _, v := range rollout.Versions(&runs[i].Spec.Plan) {
			for _, content := range rollout.Contents(v) {
				used[Stored{runs[i].Namespace, desired.Digest(content)}] = true
			}
		}
	}
	return used
}

func useRendered(used map[Stored]bool, project string, variants []v1alpha1.RenderVariant) {
	for _, v := range variants {
		used[Stored{project, desired.Digest(v.Content)}] = true
	}
}
