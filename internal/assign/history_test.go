package assign_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/desired"
)

func TestTheDeliveredRevisionAndTheNewestOnesAreKept(t *testing.T) {
	app := v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop"}}
	app.Status.Revision = "shop-0" // the oldest: someone rolled back
	var revisions []v1alpha1.Revision
	for i := range assign.History + 5 {
		r := v1alpha1.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: fmt.Sprintf("shop-%d", i),
			CreationTimestamp: metav1.NewTime(time.Unix(int64(1000+i), 0))}}
		r.Spec.Application = "shop"
		revisions = append(revisions, r)
	}
	stray := v1alpha1.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "gone-1"}}
	stray.Spec.Application = "gone"

	digest := desired.Sum([]byte("before"))
	before := v1alpha1.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: desired.RevisionName("shop", digest)}}
	before.Spec.Application = "shop"
	run := v1alpha1.RolloutRun{ObjectMeta: metav1.ObjectMeta{Namespace: "demo"}}
	run.Spec.Plan.Application = "shop"
	run.Spec.Plan.Before = []v1alpha1.VersionGroup{{Version: v1alpha1.Version{Digest: string(digest)}}}

	got := assign.Outdated([]v1alpha1.Application{app}, append(revisions, stray, before), []v1alpha1.RolloutRun{run})

	want := map[types.NamespacedName]bool{}
	for i := 1; i <= 4; i++ {
		want[types.NamespacedName{Namespace: "demo", Name: fmt.Sprintf("shop-%d", i)}] = true
	}
	if len(got) != len(want) {
		t.Fatalf("outdated are %v, want %v", got, want)
	}
	for name := range want {
		if !got[name] {
			t.Errorf("%s is kept beyond the history", name)
		}
	}
}

func TestContentThatARolloutNeedsIsUsedThoughNoRevisionNamesIt(t *testing.T) {
	version := func(name string) v1alpha1.Version {
		return v1alpha1.Version{Digest: string(desired.Sum([]byte(name)))}
	}
	stored := func(name string) assign.Stored {
		return assign.Stored{Project: "demo", Digest: desired.Sum([]byte(name))}
	}
	stable := version("stable")
	run := v1alpha1.RolloutRun{ObjectMeta: metav1.ObjectMeta{Namespace: "demo"}}
	run.Spec.Plan = v1alpha1.RolloutPlan{Target: version("target"), Stable: &stable, Before: []v1alpha1.VersionGroup{{Version: version("before")}}}
	var kept, outdated v1alpha1.Revision
	kept.Namespace, kept.Name, kept.Spec.Digest = "demo", "kept", version("kept").Digest
	outdated.Namespace, outdated.Name, outdated.Spec.Digest = "demo", "outdated", version("outdated").Digest

	used := assign.Used(nil, []v1alpha1.Revision{kept, outdated}, []v1alpha1.RolloutRun{run},
		map[types.NamespacedName]bool{{Namespace: "demo", Name: "outdated"}: true})
	for name, want := range map[string]bool{"target": true, "stable": true, "before": true, "kept": true, "outdated": false} {
		if used[stored(name)] != want {
			t.Errorf("%s is in use: %v", name, !want)
		}
	}
}
