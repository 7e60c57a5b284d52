package join_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/join"
)

func TestContextsAreChosenByPatternAndNamedByTemplate(t *testing.T) {
	contexts := []string{"prod-us", "prod-eu", "stage-eu", "arn:aws:eks:eu-west-1:123:cluster/Shop_1", "9-lives"}
	for _, tt := range []struct {
		name, template string
		patterns       []string
		want           []join.Choice
		says           string
	}{
		{"a wildcard takes all it fits, in order", "{context}", []string{"prod-*"}, []join.Choice{{"prod-eu", "prod-eu"}, {"prod-us", "prod-us"}}, ""},
		{"a context that two patterns match is taken once", "{context}", []string{"*-eu", "prod-*"}, []join.Choice{{"prod-eu", "prod-eu"}, {"prod-us", "prod-us"}, {"stage-eu", "stage-eu"}}, ""},
		{"a provider's name is cut by its slashes and colons", "eks-{2}", []string{"arn:*/*"}, []join.Choice{{"arn:aws:eks:eu-west-1:123:cluster/Shop_1", "eks-shop-1"}}, ""},
		{"a dot is a dot", "{context}", []string{"prod.eu"}, nil, `no context matches "prod.eu"`},
		{"one pattern in vain stops all", "{context}", []string{"prod-*", "qa-*"}, nil, `no context matches "qa-*"`},
		{"two contexts of one name", "{2}", []string{"*-eu", "*-us"}, nil, "which context"},
		{"two contexts of one name by the template", "all", []string{"prod-*"}, nil, "prod-eu and prod-us would both become cluster all"},
		{"a name must start with a letter", "{context}", []string{"9*"}, nil, "starts with a letter"},
		{"a name is a label", strings.Repeat("x", 64), []string{"prod-eu"}, nil, "longer than 63"},
	} {
		got, err := join.Choose(contexts, tt.patterns, tt.template)
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: got %v and %v", tt.name, got, err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", tt.name, err, diff)
		}
	}
}

// What a hub would refuse as a name is never given to a cluster, whatever the
// contexts are called.
func TestEveryNameGivenIsOneThatAHubTakes(t *testing.T) {
	label := regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	rapid.Check(t, func(r *rapid.T) {
		contexts := rapid.SliceOfDistinct(rapid.String(), rapid.ID[string]).Draw(r, "contexts")
		choices, _ := join.Choose(contexts, []string{"*"}, rapid.SampledFrom([]string{"{context}", "{1}", "c-{1}-x"}).Draw(r, "template"))
		seen := map[string]bool{}
		for _, c := range choices {
			if !label.MatchString(c.Cluster) || len(c.Cluster) > 63 || seen[c.Cluster] {
				r.Errorf("context %q became cluster %q", c.Context, c.Cluster)
			}
			seen[c.Cluster] = true
		}
	})
}
