package placement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
)

var words = rapid.SampledFrom([]string{"", "x", "y", "z"})

func drawCluster(t *rapid.T, name string) v1alpha1.Cluster {
	return aCluster(name, func(c *v1alpha1.Cluster) {
		c.Spec.Accepted = rapid.IntRange(0, 9).Draw(t, "accepted") > 0
		c.Spec.Region = words.Draw(t, "region")
		c.Spec.Jurisdiction = words.Draw(t, "jurisdiction")
		c.Spec.Unschedulable = rapid.IntRange(0, 4).Draw(t, "cordon") == 0
		c.Labels["stage"] = rapid.SampledFrom([]string{"production", "staging"}).Draw(t, "stage")
		c.Status.Connection.State = rapid.SampledFrom([]v1alpha1.ConnectionState{v1alpha1.Connected, v1alpha1.Stale, v1alpha1.Disconnected, ""}).Draw(t, "connection")
		if rapid.IntRange(0, 3).Draw(t, "tainted") == 0 {
			taint(rapid.SampledFrom([]v1alpha1.TaintEffect{v1alpha1.TaintNoSelect, v1alpha1.TaintNoExecute}).Draw(t, "effect"))(c)
		}
		if rapid.Bool().Draw(t, "facts") {
			c.Status.Facts = &v1alpha1.Facts{Nodes: 3}
			if region := words.Draw(t, "observed region"); region != "" {
				c.Status.Facts.Regions = []string{region}
			}
		}
	})
}

func drawResidency(t *rapid.T, whose string) *v1alpha1.Residency {
	if rapid.Bool().Draw(t, whose+" free") {
		return nil
	}
	list := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "z"}), 0, 2, rapid.ID)
	return &v1alpha1.Residency{Jurisdictions: list.Draw(t, whose+" jurisdictions"), Regions: list.Draw(t, whose+" regions")}
}

func drawInput(t *rapid.T) Input {
	var in Input
	for i := range rapid.IntRange(0, 12).Draw(t, "fleet") {
		in.Clusters = append(in.Clusters, drawCluster(t, fmt.Sprintf("c%02d", i)))
	}
	in.Rule = v1alpha1.PlacementRule{
		Clusters: rapid.SampledFrom([]string{"", "stage=production", "stage"}).Draw(t, "selector"),
		Where:    rapid.SampledFrom([]string{"", "true", "cluster.region != 'y'", "cluster.facts.nodes > 2"}).Draw(t, "where"),
		Names:    rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"c00", "c01", "c02", "c03", "ghost"}), 0, 4, rapid.ID).Draw(t, "names"),
	}
	in.Rule.Residency = drawResidency(t, "rule")
	if rapid.Bool().Draw(t, "counted") {
		in.Rule.Count = n(rapid.Int32Range(1, 6).Draw(t, "count"))
	}
	in.Project = aProject(func(p *v1alpha1.ProjectSpec) { p.Residency = drawResidency(t, "project") })
	for _, c := range in.Clusters {
		if rapid.Bool().Draw(t, "previous "+c.Name) {
			in.Previous = append(in.Previous, c.Name)
		}
	}
	return in
}

func mustDecide(t *rapid.T, in Input) Decision {
	d, err := Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestInvariantsOfEveryDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		d := mustDecide(t, in)
		byName := map[string]v1alpha1.Cluster{}
		for _, c := range in.Clusters {
			byName[c.Name] = c
			v, ok := d.Why[c.Name]
			if !ok || v.Reason == "" || v.Message == "" {
				t.Fatalf("no verdict for %s: %+v", c.Name, v)
			}
			if v.Chosen != slices.Contains(d.Chosen, c.Name) {
				t.Fatalf("%s: the verdict says %v, Chosen is %v", c.Name, v.Chosen, d.Chosen)
			}
		}
		if in.Rule.Count != nil && len(d.Chosen) > int(*in.Rule.Count) {
			t.Fatalf("chose %v for a count of %d", d.Chosen, *in.Rule.Count)
		}
		for _, name := range d.Chosen {
			c := byName[name]
			for _, limit := range []*v1alpha1.Residency{in.Project.Spec.Residency, in.Rule.Residency} {
				if limit == nil {
					continue
				}
				if len(limit.Jurisdictions) > 0 && !slices.Contains(limit.Jurisdictions, c.Spec.Jurisdiction) {
					t.Fatalf("%s in %q breaks %v", name, c.Spec.Jurisdiction, limit.Jurisdictions)
				}
				if len(limit.Regions) > 0 && !slices.Contains(limit.Regions, c.Spec.Region) {
					t.Fatalf("%s in %q breaks %v", name, c.Spec.Region, limit.Regions)
				}
				if len(limit.Regions) > 0 && c.Status.Facts != nil && len(c.Status.Facts.Regions) > 0 && c.Status.Facts.Regions[0] != c.Spec.Region {
					t.Fatalf("%s has nodes in %v and breaks %v", name, c.Status.Facts.Regions, limit.Regions)
				}
			}
			if c.Spec.Unschedulable && !slices.Contains(in.Previous, name) {
				t.Fatalf("%s is cordoned and new", name)
			}
		}
		for _, name := range d.Left {
			if slices.Contains(d.Chosen, name) || !slices.Contains(in.Previous, name) {
				t.Fatalf("%s is said to have left", name)
			}
		}
	})
}

func TestTheOrderOfTheFleetDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		d := mustDecide(t, in)
		in.Clusters = rapid.Permutation(in.Clusters).Draw(t, "order")
		in.Previous = rapid.Permutation(in.Previous).Draw(t, "order of previous")
		if diff := cmp.Diff(d, mustDecide(t, in)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A decision fed back stays, whatever happens to the links meanwhile and
// whoever joins.
func TestLinksAndNewcomersMoveNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		before := mustDecide(t, in).Chosen
		in.Previous = before
		for i := range in.Clusters {
			in.Clusters[i].Status.Connection.State = rapid.SampledFrom([]v1alpha1.ConnectionState{v1alpha1.Connected, v1alpha1.Disconnected}).Draw(t, "new connection")
		}
		in.Clusters = append(in.Clusters, drawCluster(t, "a-newcomer"))
		after := mustDecide(t, in).Chosen
		for _, name := range before {
			if !slices.Contains(after, name) {
				t.Fatalf("%s was moved: %v became %v", name, before, after)
			}
		}
	})
}

func TestChooseIsDecideWithoutWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		rule, err := Compile(in.Rule)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(mustDecide(t, in).Chosen, rule.Choose(in.Project, in.Clusters, in.Previous)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func BenchmarkThousandClusters(b *testing.B) {
	var fleet []v1alpha1.Cluster
	for i := range 1000 {
		fleet = append(fleet, aCluster(fmt.Sprintf("c%04d", i), func(c *v1alpha1.Cluster) {
			c.Spec.Region = fmt.Sprint("r", i%20)
			c.Status.Facts = &v1alpha1.Facts{Nodes: 3}
			if i%5 == 0 {
				c.Labels["stage"] = "staging"
			}
		}))
	}
	project := aProject()
	for _, bench := range []struct {
		name string
		rule v1alpha1.PlacementRule
	}{
		{"labels", v1alpha1.PlacementRule{Clusters: "stage=production", Count: n(100)}},
		{"where", v1alpha1.PlacementRule{Where: "cluster.stage == 'production' && cluster.facts.nodes > 2", Count: n(100)}},
	} {
		rule, err := Compile(bench.rule)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bench.name+"/decide", func(b *testing.B) {
			for b.Loop() {
				rule.Decide(project, fleet, nil)
			}
		})
		b.Run(bench.name+"/choose", func(b *testing.B) {
			for b.Loop() {
				rule.Choose(project, fleet, nil)
			}
		})
	}
}
