package rollout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/rollout"
)

// varied is a version that brings each cluster the content of a letter.
func varied(letters map[string]string) v1alpha1.Version {
	contents := map[string]desired.Digest{}
	for name, letter := range letters {
		contents[name] = desired.Digest(version(letter).Digest)
	}
	return rollout.Spread(version("f"), contents)
}

// next is a scene that goes on with another request.
func (s *scene) next(r rollout.Request) {
	s.t.Helper()
	r.Application, r.Last, r.Rules = "shop", s.run, &v1alpha1.Rollout{}
	if !rollout.Due(r) {
		s.t.Fatal("no run is due")
	}
	plan, err := rollout.Begin(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.note("%s: %d waves", plan.Cause, len(plan.Waves))
	s.run = &v1alpha1.RolloutRun{Spec: v1alpha1.RolloutRunSpec{Plan: plan}}
}

func TestClustersOfOneRunGetTheirOwnContents(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{}, fleet(4))
	s.run.Spec.Plan.Target = varied(map[string]string{"c01": "b", "c02": "b", "c03": "c", "c04": "c"})
	s.step()
	s.after(time.Second)
	s.pass("c01")
	s.step()
	s.after(time.Second)
	s.note("c02 gets a label by which it would run c: what was decided stays until the run is through")
	edited := varied(map[string]string{"c01": "b", "c02": "c", "c03": "c", "c04": "c"})
	if rollout.Due(rollout.Request{Last: s.run, Target: edited, Clusters: fleet(4)}) {
		t.Error("the run is cut short")
	}
	s.pass("c01", "c02")
	s.step()
	s.after(time.Second)
	s.pass("c03", "c04")
	s.step()
	s.next(rollout.Request{Target: edited, Clusters: fleet(4), Cause: "revision shop-f"})
	s.step()
	s.after(time.Second)
	s.pass("c02")
	s.step()
	joined := varied(map[string]string{"c01": "b", "c02": "c", "c03": "c", "c04": "c", "c05": "b"})
	if v := rollout.NewCourse(s.run).Version("c05"); v != nil {
		t.Errorf("c05 gets %+v before a run brings it there", v)
	}
	s.set(rollout.Member{Connected: true}, "c05")
	s.next(rollout.Request{Target: joined, Clusters: fleet(5), Cause: "revision shop-f"})
	s.step()
	s.after(time.Second)
	s.pass("c05")
	s.step()
	for name, want := range map[string]string{"c01": "b", "c02": "c", "c04": "c", "c05": "b"} {
		if v := rollout.NewCourse(s.run).Version(name); v == nil || rollout.ContentOf(*v) != version(want).Digest || v.Digest != version("f").Digest {
			t.Errorf("in the end %s runs %+v, not %s", name, v, want)
		}
	}
	s.golden("variants")
}

func TestAFailedRunOfSeveralContentsGivesEachClusterItsOwnBack(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{}, fleet(2))
	s.run.Spec.Plan.Target = varied(map[string]string{"c01": "b", "c02": "c"})
	s.run.Status = v1alpha1.RolloutRunStatus{Phase: v1alpha1.RolloutComplete, Started: 2}
	bad := rollout.Spread(version("e"), map[string]desired.Digest{"c01": desired.Digest(version("d").Digest), "c02": desired.Digest(version("d").Digest)})
	s.next(rollout.Request{Target: bad, Clusters: fleet(2)})
	s.run.Status = v1alpha1.RolloutRunStatus{Phase: v1alpha1.RolloutRolledBack, Started: 2}
	for name, want := range map[string]string{"c01": "b", "c02": "c"} {
		v := rollout.NewCourse(s.run).Version(name)
		if v == nil || v.Content != version(want).Digest || v.Digest != version("f").Digest {
			t.Errorf("%s goes back to %+v, not to %s of f", name, v, want)
		}
	}
	edited := rollout.Spread(version("e"), map[string]desired.Digest{"c01": desired.Digest(version("c").Digest), "c02": desired.Digest(version("d").Digest)})
	if rollout.Due(rollout.Request{Last: s.run, Target: edited, Clusters: fleet(2)}) {
		t.Error("a label begins what was taken back again")
	}
	var all []string
	for _, v := range rollout.Versions(&s.run.Spec.Plan) {
		for _, content := range rollout.Contents(v) {
			all = append(all, strings.TrimPrefix(content, "sha256:")[:1])
		}
	}
	slices.Sort(all)
	if diff := cmp.Diff([]string{"b", "c", "d"}, slices.Compact(all)); diff != "" {
		t.Errorf("what it needs stored: %s", diff)
	}
}

func TestAVersionKnowsEachOfItsClusters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		contents := rapid.MapOf(rapid.StringMatching("c[0-9]{1,3}"), rapid.Custom(func(t *rapid.T) desired.Digest {
			return desired.Digest(version(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "content")).Digest)
		})).Draw(t, "contents")
		v := rollout.Spread(version("f"), contents)
		if diff := cmp.Diff(v, rollout.Spread(version("f"), contents)); diff != "" {
			t.Fatalf("the same twice: %s", diff)
		}
		for name, want := range contents {
			if on := rollout.On(&v, name); on == nil || on.Content != string(want) || on.Variants != nil {
				t.Fatalf("%s gets %+v, not %s", name, on, want)
			}
		}
		if on := rollout.On(&v, "stranger"); len(contents) > 0 && on != nil {
			t.Fatalf("a stranger gets %+v", on)
		}
	})
}
