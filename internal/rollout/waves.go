package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
)

// Candidate is one cluster that the application is placed on.
type Candidate struct {
	Name      string
	Labels    map[string]string
	Connected bool
}

// DefaultWaves are one cluster, a quarter, the rest.
func DefaultWaves() []v1alpha1.Wave {
	one := int32(1)
	return []v1alpha1.Wave{{Count: &one}, {Share: "25%"}, {Share: "100%"}}
}

// Waves deals the clusters out. Each is in one wave; those that no rule takes
// come last. Within a wave, and where a rule takes only some, the connected
// come first and then the names decide, so that the same fleet gives the same
// waves. Rules that take nobody leave no wave.
func Waves(rules []v1alpha1.Wave, clusters []Candidate) ([]v1alpha1.RolloutWave, error) {
	left := slices.SortedFunc(slices.Values(clusters), func(a, b Candidate) int {
		return cmp.Or(boolCompare(b.Connected, a.Connected), cmp.Compare(a.Name, b.Name))
	})
	var waves []v1alpha1.RolloutWave
	for i, rule := range rules {
		matches, err := matcher(rule.Clusters)
		if err != nil {
			return nil, fmt.Errorf("wave %d: clusters: %w", i+1, err)
		}
		room, err := room(rule, clusters, left, matches)
		if err != nil {
			return nil, fmt.Errorf("wave %d: %w", i+1, err)
		}
		wave := v1alpha1.RolloutWave{Approval: rule.Approval, Gates: rule.Gates}
		if rule.Soak != nil {
			wave.Soak = *rule.Soak
		}
		var later []Candidate
		for _, c := range left {
			if room > 0 && matches.Matches(labels.Set(c.Labels)) {
				wave.Clusters = append(wave.Clusters, c.Name)
				room--
			} else {
				later = append(later, c)
			}
		}
		left = later
		if len(wave.Clusters) > 0 {
			waves = append(waves, wave)
		}
	}
	if len(left) > 0 {
		waves = append(waves, v1alpha1.RolloutWave{Clusters: names(left)})
	}
	return waves, nil
}

// room is how many clusters a wave takes: its share and count speak of all
// that were reached when it is through.
func room(rule v1alpha1.Wave, all, left []Candidate, matches labels.Selector) (int, error) {
	pool, rest := count(all, matches), count(left, matches)
	reached := pool - rest
	switch {
	case rule.Count != nil:
		return min(rest, max(0, int(*rule.Count)-reached)), nil
	case rule.Share != "":
		reach, err := share(rule.Share, pool)
		return max(0, reach-reached), err
	}
	return rest, nil
}

// share is a percentage of n, rounded up: a share of something is never nothing.
func share(text string, n int) (int, error) {
	percent, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
	if err != nil || !strings.HasSuffix(text, "%") || percent < 1 || percent > 100 {
		return 0, fmt.Errorf("%q is no share: give 1%% to 100%%", text)
	}
	return (n*percent + 99) / 100, nil
}

func matcher(selector string) (labels.Selector, error) {
	if strings.TrimSpace(selector) == "" {
		return labels.Everything(), nil
	}
	return placement.ParseSelector(selector)
}

func count(clusters []Candidate, matches labels.Selector) int {
	n := 0
	for _, c := range clusters {
		if matches.Matches(labels.Set(c.Labels)) {
			n++
		}
	}
	return n
}

func names(clusters []Candidate) []string {
	out := make([]string, len(clusters))
	for i, c := range clusters {
		out[i] = c.Name
	}
	return out
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
