package observed_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
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

const heartbeat = 10 * time.Second

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func key(app string) desired.Key { return desired.Key{Project: "demo", Application: app} }

func state(app string, sync report.Sync, health report.Health) report.State {
	return report.State{Key: key(app), Entry: want, Sync: sync, Health: health}
}

var want = desired.Sum([]byte("wanted"))

func whole(states ...report.State) report.Report {
	by := map[desired.Key]report.State{}
	for _, s := range states {
		by[s.Key] = s
	}
	return report.Report{Full: true, States: states, Digest: report.Digest(by)}
}

func quiet() *observed.Fleet { return observed.New(func(observed.Change) {}) }

func TestTheAgeOfAnInventoryIsByTheHubsClock(t *testing.T) {
	for name, c := range map[string]struct{ skew, age, want time.Duration }{
		"right":                    {0, time.Minute, time.Minute},
		"ahead":                    {10 * time.Minute, time.Minute, time.Minute},
		"behind":                   {-10 * time.Minute, time.Minute, time.Minute},
		"set back since it looked": {0, -10 * time.Minute, 0},
	} {
		f := observed.New(func(observed.Change) {})
		f.Connect("a", now)
		here := now.Add(c.skew)
		r := report.Report{Full: true, At: here.UnixMilli(), Facts: &v1alpha1.Facts{ObservedAt: metav1.NewTime(here.Add(-c.age))}, Digest: report.Digest(nil)}
		if !f.Report("a", r, now) {
			t.Fatal("the report was not taken")
		}
		if age := now.Sub(f.Get("a").Facts.ObservedAt.Time); age != c.want {
			t.Errorf("%s: the inventory is %s old, want %s", name, age, c.want)
		}
	}
}

func TestAConnectionAges(t *testing.T) {
	f := quiet()
	is := func(when string, at time.Time, want v1alpha1.ConnectionState) {
		t.Helper()
		if got := f.Get("a").State(at, heartbeat); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	is("never heard of", now, v1alpha1.Pending)
	f.Connect("a", now)
	is("connected", now.Add(3*heartbeat), v1alpha1.Connected)
	is("heartbeats late", now.Add(3*heartbeat+1), v1alpha1.Stale)
	f.Heard("a", now.Add(5*heartbeat), "", 0)
	is("heard again", now.Add(5*heartbeat), v1alpha1.Connected)
	f.Disconnect("a", now.Add(6*heartbeat))
	is("closed", now.Add(6*heartbeat), v1alpha1.Disconnected)
	f.Load("b", now, nil)
	if got := f.Get("b").State(now, heartbeat); got != v1alpha1.Disconnected {
		t.Errorf("known from the store only: %s", got)
	}
}

func TestAForgottenClusterDoesNotComeBackWithItsLastWords(t *testing.T) {
	f := quiet()
	f.Connect("a", now)
	f.Forget("a")
	f.Heard("a", now, "", 0)
	f.Report("a", whole(state("x", report.InSync, report.HealthHealthy)), now)
	f.Disconnect("a", now)
	if names := f.Names(); len(names) != 0 {
		t.Errorf("known are %v", names)
	}
}

func TestHealthIsBelievedOnlyOverTheOpenLinkForTheWantedEntry(t *testing.T) {
	well := state("x", report.InSync, report.HealthHealthy)
	for name, tt := range map[string]struct {
		play func(*observed.Fleet)
		at   time.Time
		want desired.Digest
		is   report.Health
	}{
		"reported over the open link": {func(f *observed.Fleet) { f.Connect("a", now); f.Report("a", whole(well), now) }, now, want, report.HealthHealthy},
		"heartbeats late":             {func(f *observed.Fleet) { f.Connect("a", now); f.Report("a", whole(well), now) }, now.Add(time.Minute), want, report.HealthUnknown},
		"of another entry":            {func(f *observed.Fleet) { f.Connect("a", now); f.Report("a", whole(well), now) }, now, desired.Sum(nil), report.HealthUnknown},
		"when nothing is wanted": {func(f *observed.Fleet) {
			f.Connect("a", now)
			s := well
			s.Entry = ""
			f.Report("a", whole(s), now)
		}, now, "", report.HealthUnknown},
		"the link has closed": {func(f *observed.Fleet) {
			f.Connect("a", now)
			f.Report("a", whole(well), now)
			f.Disconnect("a", now)
		}, now, want, report.HealthUnknown},
		"reconnected and not reported yet": {func(f *observed.Fleet) {
			f.Connect("a", now.Add(-time.Hour))
			f.Report("a", whole(well), now.Add(-time.Hour))
			f.Disconnect("a", now)
			f.Connect("a", now)
		}, now, want, report.HealthUnknown},
		"from an earlier term": {func(f *observed.Fleet) {
			f.Load("a", now, map[desired.Key]report.State{well.Key: well})
			f.Connect("a", now)
		}, now, want, report.HealthUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			f := quiet()
			tt.play(f)
			if got := f.Member("a", key("x"), tt.want, tt.at, heartbeat).Health(); got != tt.is {
				t.Errorf("got %s, want %s", got, tt.is)
			}
		})
	}
}

func TestTheAgeOfAStateIsThatOfItsLastConfirmation(t *testing.T) {
	f := quiet()
	f.Connect("a", now)
	f.Report("a", whole(state("x", report.InSync, report.HealthHealthy)), now)
	f.Heard("a", now.Add(time.Minute), "", 0)
	member := func() time.Time { return f.Member("a", key("x"), want, now, heartbeat).Reported }
	if got := member(); !got.Equal(now.Add(time.Minute)) {
		t.Errorf("confirmed by a heartbeat, yet of %s", got)
	}
	f.Disconnect("a", now.Add(time.Hour))
	f.Connect("a", now.Add(2*time.Hour))
	f.Heard("a", now.Add(3*time.Hour), "", 0)
	if got := member(); !got.Equal(now) {
		t.Errorf("not reported over the new link, yet of %s", got)
	}
	if !f.Member("a", key("unknown"), want, now, heartbeat).Reported.IsZero() {
		t.Error("an application never reported has an age")
	}
}

// An agent's changes reach the hub in order, some of them lost: what the hub
// holds is always something the agent once said whole, and a resend mends it.
func TestDeltasGiveTheAgentsStatesAndLossesAreNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := quiet()
		f.Connect("a", now)
		agent := map[desired.Key]report.State{}
		f.Report("a", whole(), now)
		inStep := true
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			k := key(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "app"))
			r := report.Report{}
			if _, has := agent[k]; has && rapid.Bool().Draw(t, "remove") {
				delete(agent, k)
				r.Removed = []desired.Key{k}
			} else {
				s := state(k.Application, report.InSync, report.HealthHealthy)
				s.Since = rapid.Int64Range(1, 1<<40).Draw(t, "since")
				agent[k] = s
				r.States = []report.State{s}
			}
			r.Digest = report.Digest(agent)
			held := f.Digest("a")
			if rapid.IntRange(0, 3).Draw(t, "lost") == 0 {
				inStep = inStep && held == r.Digest
				continue
			}
			if matched := f.Report("a", r, now); !matched {
				if inStep {
					t.Fatal("a report in order did not match")
				}
				if f.Digest("a") != held {
					t.Fatal("a report that did not match was entered")
				}
				all := report.Report{Full: true, Digest: report.Digest(agent)}
				for _, s := range agent {
					all.States = append(all.States, s)
				}
				if !f.Report("a", all, now) {
					t.Fatal("the whole did not match")
				}
			}
			inStep = true
			if diff := cmp.Diff(agent, f.Get("a").States()); diff != "" {
				t.Fatalf("states (-agent +hub):\n%s", diff)
			}
			if f.Digest("a") != report.Digest(agent) {
				t.Fatal("the digest kept is not that of the states")
			}
		}
	})
}

// Controllers read a cluster while reports of it come in.
func TestAClusterStaysAsItWasRead(t *testing.T) {
	f := quiet()
	f.Connect("a", now)
	x, y := state("x", report.InSync, report.HealthHealthy), state("y", report.InSync, report.HealthHealthy)
	f.Report("a", whole(x, y), now)
	before := f.Get("a")
	drifted := x
	drifted.Sync = report.Drifted
	r := report.Report{States: []report.State{drifted}, Removed: []desired.Key{y.Key}, Digest: whole(drifted).Digest}
	if !f.Report("a", r, now) {
		t.Fatal("the report was not taken")
	}
	if diff := cmp.Diff(map[desired.Key]report.State{x.Key: x, y.Key: y}, before.States()); diff != "" {
		t.Errorf("what was read before was altered (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[desired.Key]report.State{x.Key: drifted}, f.Get("a").States()); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
}

func TestOnlyWhatChangedIsTold(t *testing.T) {
	var told []desired.Key
	f := observed.New(func(c observed.Change) { told = append(told, c.Keys...) })
	f.Load("a", now, map[desired.Key]report.State{key("x"): state("x", report.InSync, report.HealthHealthy)})
	f.Connect("a", now)
	x, y := state("x", report.InSync, report.HealthHealthy), state("y", report.InSync, report.HealthHealthy)
	tells := func(what string, want int, r report.Report) {
		t.Helper()
		told = nil
		if !f.Report("a", r, now) || len(told) != want {
			t.Errorf("%s: told of %v, want %d", what, told, want)
		}
	}
	tells("the first whole, the unchanged included", 2, whole(x, y))
	tells("the same again", 0, whole(x, y))
	y.Sync = report.Drifted
	tells("one changed", 1, whole(x, y))
	tells("one gone", 1, whole(x))
}

// What is kept of a cluster's last word begins with its first.
func TestTheFirstReportOverALinkIsToldAsSuch(t *testing.T) {
	var first []bool
	f := observed.New(func(c observed.Change) {
		if !c.Link {
			first = append(first, c.First)
		}
	})
	for range 2 {
		f.Connect("a", now)
		f.Report("a", whole(state("x", report.InSync, report.HealthHealthy)), now)
		f.Report("a", whole(state("x", report.Drifted, report.HealthHealthy)), now)
		f.Disconnect("a", now)
	}
	if diff := cmp.Diff([]bool{true, false, true, false}, first); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReportsOfManyClustersAtOnceAreAllEntered(t *testing.T) {
	f := quiet()
	var wg sync.WaitGroup
	for c := range 8 {
		name := fmt.Sprint("c", c%4) // two links each, as when one replaces another
		f.Connect(name, now)
		wg.Go(func() {
			for i := range 100 {
				s := state("x", report.InSync, report.HealthHealthy)
				s.Since = int64(i + 1000*c)
				f.Report(name, whole(s), now)
				f.Heard(name, now, "", 0)
				f.Digest(name)
				_, _ = f.Get(name).Of(key("x"))
			}
		})
	}
	wg.Wait()
	for _, name := range f.Names() {
		if c := f.Get(name); f.Digest(name) != report.Digest(c.States()) {
			t.Errorf("%s holds another digest than its states'", name)
		}
	}
}

func TestCountsAddUp(t *testing.T) {
	syncs := []report.Sync{report.Failed, report.Held, report.Drifted, report.Progressing, report.InSync, report.Withdrawn}
	healths := []report.Health{report.HealthDegraded, report.HealthUnknown, report.HealthProgressing, report.HealthHealthy}
	connections := []v1alpha1.ConnectionState{v1alpha1.Connected, v1alpha1.Stale, v1alpha1.Disconnected, v1alpha1.Pending}
	rapid.Check(t, func(t *rapid.T) {
		var members []observed.Member
		oldest := time.Time{}
		for i := range rapid.IntRange(0, 30).Draw(t, "members") {
			m := observed.Member{Cluster: fmt.Sprint("c", i), Want: want, FromTerm: rapid.Bool().Draw(t, "term"),
				Connection: rapid.SampledFrom(connections).Draw(t, "connection")}
			if rapid.Bool().Draw(t, "reported") {
				m.Reported = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "age")) * time.Second)
				m.State = state("x", rapid.SampledFrom(syncs).Draw(t, "sync"), rapid.SampledFrom(healths).Draw(t, "health"))
				if rapid.Bool().Draw(t, "tried") {
					m.State.Verification = &report.Verification{Verdict: rapid.SampledFrom([]report.Verdict{report.VerificationPassed, report.VerificationRunning, report.VerificationFailed}).Draw(t, "verdict")}
				}
				if oldest.IsZero() || m.Reported.Before(oldest) {
					oldest = m.Reported
				}
			}
			members = append(members, m)
		}
		s := observed.Summarise(members)
		c := s.Counts
		if sum := c.InSync + c.Progressing + c.Drifted + c.Held + c.Failed + c.NotReported; sum != c.Placed || int(c.Placed) != len(members) {
			t.Fatalf("sync adds up to %d of %d", sum, c.Placed)
		}
		if sum := c.Healthy + c.HealthProgressing + c.Degraded + c.Unknown; sum != c.Placed {
			t.Fatalf("health adds up to %d of %d", sum, c.Placed)
		}
		if !s.AsOf.Equal(oldest) || len(s.Exceptions) > observed.MaxExceptions {
			t.Fatalf("as of %v, %d exceptions", s.AsOf, len(s.Exceptions))
		}
		bad, verdicts := 0, map[report.Verdict]int32{}
		for _, m := range members {
			verdicts[m.Verdict()]++
			if m.Verdict() == report.VerificationFailed || m.Sync() != report.InSync || m.Health() != report.HealthHealthy {
				bad++
			}
		}
		if len(s.Exceptions) != min(bad, observed.MaxExceptions) || s.Disproved != verdicts[report.VerificationFailed] || s.Trying != verdicts[report.VerificationRunning] {
			t.Fatalf("%d exceptions of %d, %d disproved and %d being tried of %v", len(s.Exceptions), bad, s.Disproved, s.Trying, verdicts)
		}
	})
}

func TestAPackedReportFitsAndReadsBack(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 100, 3000} {
		states := map[desired.Key]report.State{}
		for i := range n {
			s := state(fmt.Sprint("app-", i), report.InSync, report.HealthHealthy)
			s.Message = fmt.Sprintf("%x", noise.Int64())
			for range noise.IntN(25) {
				s.Problems = append(s.Problems, report.Problem{Reason: "Invalid", Message: fmt.Sprintf("%x", noise.Int64())})
				s.Drift = append(s.Drift, report.Change{Path: fmt.Sprint(noise.Int64())})
			}
			states[s.Key] = s
		}
		bad := state("the-bad-one", report.Failed, report.HealthDegraded)
		states[bad.Key] = bad
		data := observed.Pack(states)
		if len(data) > observed.MaxPacked {
			t.Errorf("%d states take %d bytes", n, len(data))
		}
		back, err := observed.Unpack(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(bad, back[bad.Key]); diff != "" {
			t.Errorf("of %d states the worst is not kept:\n%s", n, diff)
		}
		if n <= 1 && len(back) != n+1 {
			t.Errorf("%d of %d states are back", len(back), n+1)
		}
		for k, s := range back {
			if s.Message != states[k].Message || s.Sync != states[k].Sync {
				t.Errorf("%s came back as %+v", k, s)
			}
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(observed.Pack(map[desired.Key]report.State{key("x"): state("x", report.InSync, report.HealthHealthy)}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if states, err := observed.Unpack(data); err == nil {
			observed.Pack(states)
		}
	})
}
