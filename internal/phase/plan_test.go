package phase

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAnApplicationWithoutOrderIsOneStep(t *testing.T) {
	for _, first := range []bool{true, false} {
		want := Layout{Steps: []Step{{Phase: Sync}}, At: []int{0, 0, 0}}
		if diff := cmp.Diff(want, Plan([]Mark{plain, plain, plain}, first)); diff != "" {
			t.Error(diff)
		}
	}
	if got := Plan(nil, true); len(got.Steps) != 1 {
		t.Errorf("nothing at all has the steps %v", got.Steps)
	}
}

func TestStepsFollowPhasesAndWaves(t *testing.T) {
	marks := []Mark{
		plain,
		{Phase: PostSync, Hook: true},
		{Phase: Sync, Wave: 2},
		{Phase: PreSync, Hook: true, Wave: 5},
		{Phase: Sync, Wave: -1},
		{Phase: PreSync, Hook: true, Occasion: FirstDelivery},
		{Phase: PreSync, Hook: true, Wave: 9, Occasion: LaterDeliveries},
		{Phase: SyncFail, Hook: true},
		{Phase: Sync, LeftOut: "is a test"},
	}
	got := Plan(marks, true)
	want := Layout{
		Steps: []Step{{PreSync, 0}, {PreSync, 5}, {Sync, -1}, {Sync, 0}, {Sync, 2}, {PostSync, 0}},
		At:    []int{3, 5, 4, 1, 2, 0, Aside, Aside, Aside},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var said []string
	for _, s := range got.Steps {
		said = append(said, s.String())
	}
	if diff := cmp.Diff([]string{"phase PreSync", "wave 5 of phase PreSync", "wave -1", "phase Sync", "wave 2", "phase PostSync"}, said); diff != "" {
		t.Error(diff)
	}
	if later := Plan(marks, false); later.At[5] != Aside || later.At[6] == Aside {
		t.Errorf("a later delivery is laid out as %v", later.At)
	}
}

func anyMark(t *rapid.T) Mark {
	m := Mark{
		Phase: rapid.SampledFrom([]Phase{PreSync, Sync, PostSync, Verify, SyncFail}).Draw(t, "phase"),
		Wave:  rapid.Int32Range(-2, 2).Draw(t, "wave"),
	}
	if m.Hook = m.Phase != Sync || rapid.Bool().Draw(t, "hook"); m.Hook {
		m.Occasion = rapid.SampledFrom([]Occasion{Always, FirstDelivery, LaterDeliveries}).Draw(t, "occasion")
	}
	if rapid.IntRange(0, 5).Draw(t, "out") == 0 {
		m.LeftOut = "is a test"
	}
	return m
}

// TestNothingOvertakes holds for any objects: each has at most one step, steps
// ascend, none is empty, and the order in which objects are given does not matter.
func TestNothingOvertakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		marks := rapid.SliceOf(rapid.Custom(anyMark)).Draw(t, "marks")
		first := rapid.Bool().Draw(t, "first")
		l := Plan(marks, first)
		used := make([]bool, len(l.Steps))
		for i, m := range marks {
			at := l.At[i]
			if (at == Aside) != (m.Dormant(first) || m.Phase == SyncFail) {
				t.Fatalf("%+v is at step %d", m, at)
			}
			if at == Aside {
				continue
			}
			used[at] = true
			for j, other := range marks {
				before := m.Phase < other.Phase || m.Phase == other.Phase && m.Wave < other.Wave
				if l.At[j] != Aside && before && l.At[j] <= at {
					t.Fatalf("%+v at %d does not go before %+v at %d", m, at, other, l.At[j])
				}
			}
		}
		if slices.Contains(used, false) && len(l.Steps) > 1 {
			t.Fatalf("a step of %v has nothing", l.Steps)
		}
		turned := slices.Clone(marks)
		slices.Reverse(turned)
		back := Plan(turned, first)
		slices.Reverse(back.At)
		if diff := cmp.Diff(l, back, cmp.Comparer(slices.Equal[[]int])); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestHooksEnd(t *testing.T) {
	job := func(status map[string]any) map[string]any {
		return map[string]any{"apiVersion": "batch/v1", "kind": "Job", "status": status}
	}
	condition := func(kind, status string) map[string]any {
		return map[string]any{"conditions": []any{map[string]any{"type": kind, "status": status, "reason": "BackoffLimitExceeded", "message": "it reached the limit"}}}
	}
	pod := func(phase string) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": "Pod", "status": map[string]any{"phase": phase, "reason": "Evicted"}}
	}
	for name, tc := range map[string]struct {
		object  map[string]any
		healthy bool
		end     End
		why     string
	}{
		"a job that began":           {job(nil), true, Running, ""},
		"a job that is done":         {job(condition("Complete", "True")), false, Succeeded, ""},
		"a job that will be done":    {job(condition("Complete", "False")), true, Running, ""},
		"a job that failed":          {job(condition("Failed", "True")), false, Failed, "the job failed: BackoffLimitExceeded: it reached the limit"},
		"a pod that only runs":       {pod("Running"), true, Running, ""},
		"a pod that is done":         {pod("Succeeded"), false, Succeeded, ""},
		"a pod that failed":          {pod("Failed"), false, Failed, "the pod failed: Evicted"},
		"anything that is healthy":   {map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}, true, Succeeded, ""},
		"anything that is not":       {map[string]any{"apiVersion": "example.com/v1", "kind": "Job"}, false, Running, ""},
		"a status of some odd shape": {map[string]any{"apiVersion": "batch/v1", "kind": "Job", "status": "done"}, true, Running, ""},
	} {
		if end, why := EndOf(tc.object, tc.healthy); end != tc.end || why != tc.why {
			t.Errorf("%s: %v %q", name, end, why)
		}
	}
}
