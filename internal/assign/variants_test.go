package assign_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/override"
)

func labelled(n int, labels func(i int) map[string]string) []v1alpha1.Cluster {
	clusters := make([]v1alpha1.Cluster, n)
	for i := range clusters {
		clusters[i].Name, clusters[i].Labels = fmt.Sprintf("c%03d", i), labels(i)
	}
	return clusters
}

// plainly is a source that is rendered to one thing.
func plainly(*v1alpha1.Cluster, []int32) desired.Digest { return desired.Sum(nil) }

func TestAClusterWaitsUntilItsClassIsRendered(t *testing.T) {
	clusters := labelled(3, func(int) map[string]string { return nil })
	under := func(c *v1alpha1.Cluster, _ []int32) desired.Digest {
		return map[string]desired.Digest{"c000": desired.Sum([]byte("old")), "c001": desired.Sum([]byte("new"))}[c.Name]
	}
	contents, variants, err := assign.Variants(nil, clusters, under, func(under desired.Digest, _ []int32) (desired.Digest, error) { return under, nil })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]desired.Digest{"c000": desired.Sum([]byte("old")), "c001": desired.Sum([]byte("new"))}, contents); diff != "" || len(variants) != 2 {
		t.Errorf("%d variants: %s", len(variants), diff)
	}
}

func TestClustersThatMatchTheSameGetTheSame(t *testing.T) {
	overrides := []v1alpha1.Override{{Clusters: "stage=production"}, {Clusters: "tier=edge"}}
	clusters := labelled(200, func(i int) map[string]string {
		return map[string]string{"stage": []string{"staging", "production"}[i%2], "tier": []string{"core", "edge"}[min(i/198, 1)]}
	})
	made := map[string]int{}
	contents, variants, err := assign.Variants(overrides, clusters, plainly, func(_ desired.Digest, of []int32) (desired.Digest, error) {
		made[fmt.Sprint(of)]++
		return desired.Sum([]byte(fmt.Sprint(of))), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"[]": 1, "[0]": 1, "[1]": 1, "[0 1]": 1}, made); diff != "" {
		t.Errorf("how often each content is made: %s", diff)
	}
	want := []v1alpha1.Variant{
		{Clusters: 99}, {Overrides: []int32{0}, Clusters: 99}, {Overrides: []int32{0, 1}, Clusters: 1}, {Overrides: []int32{1}, Clusters: 1},
	}
	for i := range want {
		want[i].Under = string(desired.Sum(nil))
		want[i].Content = string(desired.Sum([]byte(fmt.Sprint(want[i].Overrides))))
	}
	if diff := cmp.Diff(want, variants); diff != "" {
		t.Error(diff)
	}
	if contents["c199"] != desired.Sum([]byte("[0 1]")) || contents["c000"] != desired.Sum([]byte("[]")) || len(contents) != 200 {
		t.Errorf("c199 gets %s, c000 %s, of %d", contents["c199"], contents["c000"], len(contents))
	}
}

func TestTooManyContentsAreRefused(t *testing.T) {
	var overrides []v1alpha1.Override
	for i := range 9 {
		overrides = append(overrides, v1alpha1.Override{Clusters: fmt.Sprintf("bit%d", i)})
	}
	clusters := labelled(override.MaxVariants+1, func(i int) map[string]string {
		labels := map[string]string{}
		for bit := range 9 {
			if i>>bit&1 == 1 {
				labels[fmt.Sprintf("bit%d", bit)] = ""
			}
		}
		return labels
	})
	same := func(desired.Digest, []int32) (desired.Digest, error) { return desired.Sum(nil), nil }
	if _, _, err := assign.Variants(overrides, clusters, plainly, same); err == nil || !strings.Contains(err.Error(), "spec.overrides") {
		t.Errorf("%d ways are too many: %v", len(clusters), err)
	}
	if _, _, err := assign.Variants(overrides, clusters[1:], plainly, same); err != nil {
		t.Error(err)
	}
	broken := func(desired.Digest, []int32) (desired.Digest, error) { return "", errors.New("no Deployment/web") }
	if _, _, err := assign.Variants(overrides, clusters[:1], plainly, broken); err == nil || !strings.Contains(err.Error(), "on cluster c000: no Deployment/web") {
		t.Errorf("the cluster is not named: %v", err)
	}
}

func TestEveryContentOfARevisionWithOverridesIsKept(t *testing.T) {
	digest := func(name string) string { return string(desired.Sum([]byte(name))) }
	app, revision, run := v1alpha1.Application{}, v1alpha1.Revision{}, v1alpha1.RolloutRun{}
	app.Namespace, app.Name, app.Status.Revision = "demo", "shop", "shop-whole"
	app.Status.Variants = []v1alpha1.Variant{{Content: digest("under")}, {Content: digest("over"), Overrides: []int32{0}}}
	revision.Namespace, revision.Spec.Digest, revision.Spec.Content = "demo", digest("whole"), digest("under")
	run.Namespace = "demo"
	run.Spec.Plan.Target = v1alpha1.Version{Digest: digest("whole"), Variants: []v1alpha1.VersionVariant{{Content: digest("travels")}}}
	run.Spec.Plan.Before = []v1alpha1.VersionGroup{{Version: v1alpha1.Version{Digest: digest("former"), Content: digest("ran")}}}
	used := assign.Used([]v1alpha1.Application{app}, []v1alpha1.Revision{revision}, []v1alpha1.RolloutRun{run}, nil)
	for _, name := range []string{"under", "over", "travels", "ran"} {
		if !used[assign.Stored{Project: "demo", Digest: desired.Digest(digest(name))}] {
			t.Errorf("%s would be swept", name)
		}
	}
}
