package assign_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

var (
	everywhere = []string{"a", "b", "c", "d", "e"}
	gone       = metav1.Unix(1, 0)
)

// kinds sorts a plan's entries by what they ask.
func kinds(p assign.Plan) map[string]string {
	out := map[string]string{}
	for cluster, e := range p.Entries {
		switch {
		case e.Hold:
			out[cluster] = "hold"
		case e.Withdrawn:
			out[cluster] = "let go"
		default:
			out[cluster] = "run"
		}
	}
	return out
}

func all(kind string, clusters ...string) map[string]string {
	out := map[string]string{}
	for _, c := range clusters {
		out[c] = kind
	}
	return out
}

func TestWhatEachClusterIsAsked(t *testing.T) {
	refuseOn := func(cluster string) func(desired.Entry) []report.Problem {
		return func(e desired.Entry) []report.Problem {
			if e.Bindings == nil || e.Bindings["cluster.name"] == cluster {
				return []report.Problem{{Object: report.ObjectRef{Kind: "ClusterRole", Name: "x"}, Message: "no"}}
			}
			return nil
		}
	}
	join := func(ms ...map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range ms {
			maps.Copy(out, m)
		}
		return out
	}
	for name, tt := range map[string]struct {
		onDelete v1alpha1.DeletionPolicy
		change   func(*assign.State)
		want     map[string]string
		accepted string
		done     bool
	}{
		"what it chose runs": {v1alpha1.Orphan, func(*assign.State) {}, all("run", everywhere...), "Accepted", false},
		"a refused source without a revision keeps what runs": {v1alpha1.Delete, func(s *assign.State) {
			s.Content, s.ContentErr = "", errors.New("not YAML")
		}, all("hold", everywhere...), "SourceRefused", false},
		"what waits for itself is told so, and keeps what it has": {v1alpha1.Orphan, func(s *assign.State) {
			s.Cycle = []string{"shop", "db", "shop"}
		}, all("hold", everywhere...), "DependencyCycle", false},
		"a refused source with a revision goes on with that": {v1alpha1.Orphan, func(s *assign.State) {
			s.ContentErr = errors.New("not YAML")
		}, all("run", everywhere...), "SourceRefused", false},
		"a lost project keeps what runs, and what was leaving": {v1alpha1.Delete, func(s *assign.State) {
			s.Project = nil
			s.App.Status.Clusters, s.App.Status.Withdrawing = []string{"a"}, []string{"b"}
		}, all("hold", "a", "b"), "ProjectMissing", false},
		"an unreadable rule keeps what runs, and what was leaving": {v1alpha1.Delete, func(s *assign.State) {
			s.Rule, s.RuleErr = nil, errors.New("no such placement")
			s.App.Status.Clusters, s.App.Status.Withdrawing = []string{"a"}, []string{"b"}
		}, all("hold", "a", "b"), "InvalidPlacement", false},
		"a project whose bounds cannot be read keeps what runs": {v1alpha1.Delete, func(s *assign.State) {
			s.Project.Spec.Clusters = "stage in"
		}, all("hold", everywhere...), "InvalidProject", false},
		"a policy refusal on one cluster holds that one": {v1alpha1.Orphan, func(s *assign.State) {
			s.App.Spec.LateBinding = true
			s.Check = refuseOn("c")
		}, join(all("run", "a", "b", "d", "e"), all("hold", "c")), "PolicyRefused", false},
		"a refused application reaches no cluster it was never on": {v1alpha1.Orphan, func(s *assign.State) {
			s.App.Status.Clusters = []string{"a"}
			s.Check = refuseOn("")
		}, all("hold", "a"), "PolicyRefused", false},
		"a cluster that is removed is not asked to let go": {v1alpha1.Delete, func(s *assign.State) {
			s.Clusters = slices.DeleteFunc(s.Clusters, func(c v1alpha1.Cluster) bool { return c.Name == "e" })
		}, all("run", "a", "b", "c", "d"), "Accepted", false},
		"a deleted application that orphans may go": {v1alpha1.Orphan, func(s *assign.State) {
			s.App.DeletionTimestamp = &gone
		}, nil, "Accepted", true},
		"a deleted application that deletes waits for every cluster": {v1alpha1.Delete, func(s *assign.State) {
			s.App.DeletionTimestamp = &gone
		}, all("let go", everywhere...), "Accepted", false},
		"it waits even when its content is lost": {v1alpha1.Delete, func(s *assign.State) {
			s.App.DeletionTimestamp = &gone
			s.Content, s.ContentErr = "", errors.New("gone")
		}, all("let go", everywhere...), "SourceRefused", false},
		"it may go once all have let go": {v1alpha1.Delete, func(s *assign.State) {
			s.App.DeletionTimestamp = &gone
			s.Released = func(string, desired.Entry) bool { return true }
		}, nil, "Accepted", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := stateOf(t, tt.onDelete, fleetWithout())
			tt.change(&s)
			p := assign.Make(s)
			if diff := cmp.Diff(tt.want, kinds(p)); diff != "" && len(tt.want)+len(p.Entries) > 0 {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if p.Accepted.Reason != tt.accepted || p.Done != tt.done {
				t.Errorf("accepted %+v, done %v", p.Accepted, p.Done)
			}
			for cluster, e := range p.Entries {
				if e.Key != (desired.Key{Project: "demo", Application: "shop"}) || e.UID != "1" {
					t.Errorf("the entry of %s names %s %s", cluster, e.Key, e.UID)
				}
			}
		})
	}
}

func TestAPolicyRefusalNamesTheObjectAndTheClusters(t *testing.T) {
	s := stateOf(t, v1alpha1.Orphan, fleetWithout())
	s.Check = func(desired.Entry) []report.Problem {
		return []report.Problem{{Object: report.ObjectRef{Kind: "ClusterRole", Name: "root"}, Message: "cluster-scoped"}, {}}
	}
	got := assign.Make(s).Accepted.Message
	for _, word := range []string{"demo", "ClusterRole/root", "cluster-scoped", "1 more", "a, b, c, d, e"} {
		if !strings.Contains(got, word) {
			t.Errorf("%q lacks %q", got, word)
		}
	}
}

// Whatever fails, a cluster that runs an application and still exists is never
// left without an entry unless it left the placement by a rule that could be read.
func TestNoFailureDropsACluster(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		drawn := func(label string) []string {
			return rapid.SliceOfDistinct(rapid.SampledFrom(everywhere), rapid.ID[string]).Draw(rt, label)
		}
		onDelete := rapid.SampledFrom([]v1alpha1.DeletionPolicy{v1alpha1.Orphan, v1alpha1.Delete}).Draw(rt, "onDelete")
		relabelled := drawn("relabelled")
		s := stateOf(t, onDelete, fleetWithout(relabelled...))
		s.App.Status.Clusters = slices.Sorted(slices.Values(drawn("running")))
		for _, c := range drawn("leaving") {
			if onDelete == v1alpha1.Delete && !slices.Contains(s.App.Status.Clusters, c) {
				s.App.Status.Withdrawing = append(s.App.Status.Withdrawing, c)
			}
		}
		decidable := true
		if rapid.IntRange(0, 3).Draw(rt, "no project") == 0 {
			s.Project, decidable = nil, false
		}
		if rapid.IntRange(0, 3).Draw(rt, "no rule") == 0 {
			s.Rule, s.RuleErr, decidable = nil, errors.New("unreadable"), false
		}
		if rapid.Bool().Draw(rt, "no content") {
			s.Content, s.ContentErr = "", errors.New("refused")
		}
		if rapid.Bool().Draw(rt, "forbidden") {
			s.Check = func(desired.Entry) []report.Problem { return []report.Problem{{Message: "no"}} }
		}
		p := assign.Make(s)
		for _, c := range slices.Concat(s.App.Status.Clusters, s.App.Status.Withdrawing) {
			e, ok := p.Entries[c]
			left := decidable && slices.Contains(relabelled, c)
			switch {
			case !decidable && !e.Hold:
				rt.Fatalf("nothing can be decided, and %s is asked %+v", c, e)
			case !ok && !(left && onDelete == v1alpha1.Orphan):
				rt.Fatalf("%s was dropped", c)
			case e.Withdrawn && !left:
				rt.Fatalf("%s is asked to let go and never left", c)
			case e.Withdrawn && onDelete != v1alpha1.Delete:
				rt.Fatalf("%s is asked to delete what should be orphaned", c)
			}
		}
		for c, e := range p.Entries {
			if !e.Hold && !e.Withdrawn && (s.ContentErr != nil && s.Content == "" || e.Content == "") {
				rt.Fatalf("%s is asked to run nothing", c)
			}
			if e.Hold && !slices.Contains(slices.Concat(s.App.Status.Clusters, s.App.Status.Withdrawing), c) {
				rt.Fatalf("%s is asked to keep what it never had", c)
			}
		}
	})
}
