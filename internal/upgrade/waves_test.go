package upgrade_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/upgrade"
)

func cluster(name, image string, state v1alpha1.ConnectionState) v1alpha1.Cluster {
	return v1alpha1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: v1alpha1.ClusterStatus{
			Connection: v1alpha1.Connection{State: state},
			Facts:      &v1alpha1.Facts{Agent: &v1alpha1.AgentFacts{Image: image}},
		},
	}
}

func to(image string) func(v1alpha1.Cluster) string {
	return func(v1alpha1.Cluster) string { return image }
}

func steps(t interface{ Fatal(...any) }, text string) []upgrade.Step {
	s, err := upgrade.ParseSteps(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWavesGoOnWhereAnEarlierRunWasAndSayWhatTheyLeaveOut(t *testing.T) {
	direct := cluster("hub-run", "old", v1alpha1.Connected)
	direct.Spec.Direct = &v1alpha1.DirectAccess{}
	silent := cluster("silent", "", v1alpha1.Connected)
	silent.Status.Facts = nil
	clusters := []v1alpha1.Cluster{direct, silent, cluster("process", "", v1alpha1.Connected), cluster("away", "old", v1alpha1.Disconnected), cluster("c0", "new", v1alpha1.Connected)}
	for i := 9; i > 0; i-- {
		clusters = append(clusters, cluster(fmt.Sprintf("c%d", i), "old", v1alpha1.Connected))
	}
	got := upgrade.Make(clusters, to("new"), steps(t, "1, 30%,50%"))
	want := upgrade.Plan{
		Waves: [][]string{{"c1", "c2"}, {"c3", "c4"}},
		Done:  []string{"c0"},
		Skipped: []upgrade.Skip{
			{"away", "not connected; run this again when it is"},
			{"hub-run", "the hub itself runs its agent: upgrade the hub"},
			{"process", "its agent is not run by a Deployment: upgrade it where it is started"},
			{"silent", "its agent has not said yet which image it runs"},
		},
		Left: []string{"c5", "c6", "c7", "c8", "c9"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoWaveIsRefused(t *testing.T) {
	for _, text := range []string{"", "0", "0%", "101%", "-1", "1,,2", "half", "1%%", "9999999999999999999999"} {
		if got, err := upgrade.ParseSteps(text); err == nil {
			t.Errorf("%q gives %v", text, got)
		}
	}
}

// However clusters stand and waves are cut, each cluster is in one place, what
// cannot be upgraded in no wave, and 100% reaches all.
func TestEveryClusterIsInOnePlace(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var clusters []v1alpha1.Cluster
		for i := range rapid.IntRange(0, 40).Draw(r, "clusters") {
			clusters = append(clusters, cluster(fmt.Sprintf("c%02d", i),
				rapid.SampledFrom([]string{"old", "new", "other", ""}).Draw(r, "image"),
				rapid.SampledFrom([]v1alpha1.ConnectionState{v1alpha1.Connected, v1alpha1.Stale, v1alpha1.Disconnected}).Draw(r, "state")))
		}
		text := rapid.StringMatching(`([1-9][0-9]?%?,){0,4}100%`).Draw(r, "waves")
		plan := upgrade.Make(clusters, to("new"), steps(r, text))
		seen := slices.Concat(plan.Done, plan.Left)
		for _, wave := range plan.Waves {
			if len(wave) == 0 {
				r.Error("a wave is empty")
			}
			seen = append(seen, wave...)
		}
		for _, s := range plan.Skipped {
			seen = append(seen, s.Cluster)
		}
		slices.Sort(seen)
		if len(seen) != len(clusters) || len(slices.Compact(seen)) != len(clusters) || len(plan.Left) > 0 {
			r.Errorf("%d clusters became %+v", len(clusters), plan)
		}
		if !slices.EqualFunc(plan.Waves, upgrade.Make(clusters, to("new"), steps(r, text)).Waves, slices.Equal) {
			r.Error("the same twice gives two plans")
		}
	})
}

func TestAnotherVersionOfAnImageKeepsItsRegistry(t *testing.T) {
	for image, want := range map[string]string{
		"atoll-agent:v1": "atoll-agent:v2",
		"atoll-agent":    "atoll-agent:v2",
		"registry.example.org:5000/atoll/atoll-agent":          "registry.example.org:5000/atoll/atoll-agent:v2",
		"registry.example.org:5000/a/atoll-agent:v1@sha256:00": "registry.example.org:5000/a/atoll-agent:v2",
	} {
		if got := upgrade.Retag(image, "v2"); got != want {
			t.Errorf("%s became %s", image, got)
		}
	}
}
