package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// The agent's reporter against the hub's record of it: whatever is lost, a
// heartbeat notices, and what both hold is the same again after a resend.
func TestHubAndAgentAgreeWhateverIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fleet := observed.New(func(observed.Change) {})
		fleet.Connect("c", now)
		r := &reporter{}
		r.reset()
		states := map[desired.Key]report.State{}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			k := key(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "app"))
			next := map[desired.Key]report.State{}
			for k, s := range states {
				next[k] = s
			}
			if delete(next, k); rapid.IntRange(0, 2).Draw(t, "keep") > 0 {
				next[k] = report.State{Key: k, Sync: report.InSync, Health: report.HealthHealthy, Since: rapid.Int64Range(0, 3).Draw(t, "since")}
			}
			states = next
			for {
				out, ok := r.next(states, nil, now)
				if !ok {
					break
				}
				if rapid.IntRange(0, 3).Draw(t, "lost") == 0 {
					continue
				}
				if !fleet.Report("c", out, now) {
					r.reset()
				}
			}
			if r.digest() != report.Digest(states) {
				t.Fatal("the agent believes to have said something else than it knows")
			}
			if fleet.Digest("c") != r.digest() { // as the next heartbeat finds
				r.reset()
				out, _ := r.next(states, nil, now)
				if !fleet.Report("c", out, now) {
					t.Fatal("the whole does not match")
				}
			}
			if diff := cmp.Diff(states, fleet.Get("c").States()); diff != "" {
				t.Fatalf("states (-agent +hub):\n%s", diff)
			}
			if out, ok := r.next(states, nil, now); ok {
				t.Fatalf("nothing changed and yet it says %+v", out)
			}
		}
	})
}

func TestAReportTooLargeForOneFrameIsSaidInSeveral(t *testing.T) {
	states := map[desired.Key]report.State{}
	for i := range 3000 {
		s := report.State{Key: key(fmt.Sprintf("app-%04d", i)), Sync: report.Failed, Health: report.HealthUnknown}
		for range 5 {
			s.Problems = append(s.Problems, report.Problem{Reason: "Invalid", Message: strings.Repeat("x", report.MaxMessage)})
		}
		states[s.Key] = s
	}
	fleet := observed.New(func(observed.Change) {})
	fleet.Connect("c", now)
	r := &reporter{}
	r.reset()
	reports := 0
	for {
		out, ok := r.next(states, nil, now)
		if !ok {
			break
		}
		size := 0
		for _, s := range out.States {
			_, bytes := s.Measure()
			size += bytes
		}
		if reports++; size > maxReport || out.Full != (reports == 1) {
			t.Fatalf("report %d of %d bytes, full %v", reports, size, out.Full)
		}
		if !fleet.Report("c", out, now) {
			t.Fatalf("report %d does not match", reports)
		}
	}
	if reports < 2 || len(fleet.Get("c").States()) != len(states) {
		t.Errorf("%d of %d states in %d reports", len(fleet.Get("c").States()), len(states), reports)
	}
}

func TestTheInventoryIsSentWhenItIsAnother(t *testing.T) {
	r := &reporter{}
	r.reset()
	facts := &v1alpha1.Facts{ObservedAt: metav1.NewTime(now)}
	if out, ok := r.next(nil, facts, now); !ok || out.Facts == nil {
		t.Error("the first inventory is not sent")
	}
	if _, ok := r.next(nil, facts, now); ok {
		t.Error("the same inventory is sent again")
	}
	back := &v1alpha1.Facts{ObservedAt: metav1.NewTime(now.Add(-time.Hour))}
	if out, _ := r.next(nil, back, now.Add(-time.Hour)); out.Facts == nil {
		t.Error("a clock that was set back keeps inventories from the hub")
	}
	r.reset()
	if out, _ := r.next(nil, facts, now); out.Facts == nil {
		t.Error("a new link does not get the inventory")
	}
}
