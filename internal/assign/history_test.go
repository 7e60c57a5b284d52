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
