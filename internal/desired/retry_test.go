package desired_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

func TestWaitsGrowUpToTheLongestAndNoFurther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := time.Duration(rapid.Int64Range(int64(100*time.Millisecond), int64(24*time.Hour)).Draw(t, "first"))
		most := time.Duration(rapid.Int64Range(int64(first), int64(24*time.Hour)).Draw(t, "most"))
		factor := rapid.Int32Range(1, 10).Draw(t, "factor")
		r := desired.RetryOf(&v1alpha1.Sync{Retry: &v1alpha1.Retry{Backoff: &v1alpha1.Backoff{
			Duration: &metav1.Duration{Duration: first}, Factor: &factor, MaxDuration: &metav1.Duration{Duration: most},
		}}})
		before := first
		for failures := range 100 {
			wait, said := r.Wait(failures)
			want := min(before*time.Duration(factor), most)
			if failures == 0 {
				want = first
			}
			if !said || wait != want {
				t.Fatalf("after %d failures %s, want %s", failures, wait, want)
			}
			before = wait
		}
		if diff := cmp.Diff(r, desired.RetryOf(r.Sync())); diff != "" {
			t.Fatalf("what is recovered of it differs:\n%s", diff)
		}
	})
}

func TestWhatARetryDoesNotSayIsTheAgents(t *testing.T) {
	limit := int32(0)
	for name, tt := range map[string]struct {
		sync   *v1alpha1.Sync
		wait   time.Duration
		said   bool
		spent  bool // after the first failure
		inText string
	}{
		"nothing":           {nil, 0, false, false, ""},
		"an empty retry":    {&v1alpha1.Sync{Retry: &v1alpha1.Retry{}}, 0, false, false, ""},
		"no other attempt":  {&v1alpha1.Sync{Retry: &v1alpha1.Retry{Limit: &limit}}, 0, false, true, "not at all"},
		"an empty backoff":  {&v1alpha1.Sync{Retry: &v1alpha1.Retry{Backoff: &v1alpha1.Backoff{}}}, 5 * time.Second, true, false, "without end, after 5s and then 2 times as long each time, up to 3m0s"},
		"a long first wait": {&v1alpha1.Sync{Retry: &v1alpha1.Retry{Backoff: &v1alpha1.Backoff{Duration: &metav1.Duration{Duration: time.Hour}}}}, time.Hour, true, false, "without end, 1h0m0s after each failure"},
	} {
		r := desired.RetryOf(tt.sync)
		wait, said := r.Wait(0)
		if wait != tt.wait || said != tt.said || r.Spent(1) != tt.spent || r.String() != tt.inText {
			t.Errorf("%s: %s %v, spent %v, %q", name, wait, said, r.Spent(1), r.String())
		}
	}
}
