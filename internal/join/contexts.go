package join

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Choice is a kubeconfig's context and the cluster that it is to become.
type Choice struct {
	Context string
	Cluster string
}

// maxName is the longest name of a cluster, a DNS label.
const maxName = 63

// Choose finds the contexts that match any of the patterns, in the order of
// their names, and names a cluster for each by the template: {context} is the
// context, {1} and so on what the wildcards of its pattern stood for. What a
// cluster's name cannot contain becomes '-'.
//
// In a pattern '*' stands for any characters, also '/' and ':', which the
// contexts of cloud providers are full of, and '?' for one. A pattern that
// matches nothing is an error, and so are two contexts of one name: nobody
// meant either.
func Choose(contexts, patterns []string, template string) ([]Choice, error) {
	contexts = slices.Sorted(slices.Values(contexts))
	var choices []Choice
	var problems []error
	taken := map[string]string{} // context by name
	for _, pattern := range patterns {
		matches := globbed(pattern)
		found := false
		for _, c := range contexts {
			parts := matches.FindStringSubmatch(c)
			if parts == nil {
				continue
			}
			found = true
			if slices.ContainsFunc(choices, func(have Choice) bool { return have.Context == c }) {
				continue
			}
			name, err := clusterName(template, c, parts[1:])
			if other, ok := taken[name]; ok && err == nil {
				err = fmt.Errorf("contexts %s and %s would both become cluster %s; tell them apart with --name-template", other, c, name)
			}
			if err != nil {
				problems = append(problems, err)
				continue
			}
			taken[name] = c
			choices = append(choices, Choice{Context: c, Cluster: name})
		}
		if !found {
			problems = append(problems, fmt.Errorf("no context matches %q", pattern))
		}
	}
	slices.SortFunc(choices, func(a, b Choice) int { return strings.Compare(a.Context, b.Context) })
	return choices, errors.Join(problems...)
}

// globbed is the pattern with a group for each wildcard.
func globbed(pattern string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.ReplaceAll(quoted, `\*`, `(.*)`)
	quoted = strings.ReplaceAll(quoted, `\?`, `(.)`)
	return regexp.MustCompile(`(?s)^` + quoted + `$`)
}

var (
	placeholder = regexp.MustCompile(`\{([^{}]*)\}`)
	notInName   = regexp.MustCompile(`[^a-z0-9]+`)
)

func clusterName(template, context string, wildcards []string) (string, error) {
	var unknown string
	name := placeholder.ReplaceAllStringFunc(template, func(p string) string {
		word := p[1 : len(p)-1]
		if word == "context" {
			return context
		}
		if n, err := strconv.Atoi(word); err == nil && n >= 1 && n <= len(wildcards) {
			return wildcards[n-1]
		}
		unknown = p
		return ""
	})
	if unknown != "" {
		return "", fmt.Errorf("the name template has %s, which context %s does not give: there are {context} and {1} to {%d}", unknown, context, len(wildcards))
	}
	name = strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), "-"), "-")
	switch {
	case name == "":
		return "", fmt.Errorf("context %s gives no name for a cluster; use --name-template", context)
	case name[0] >= '0' && name[0] <= '9':
		return "", fmt.Errorf("context %s would become %s; a cluster's name starts with a letter: use --name-template, such as 'c-{context}'", context, name)
	case len(name) > maxName:
		return "", fmt.Errorf("context %s would become %s, longer than %d characters; shorten it with --name-template, such as '{1}'", context, name, maxName)
	}
	return name, nil
}
