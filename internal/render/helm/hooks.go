package helm

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"helm.sh/helm/v4/pkg/release/v1/util"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/content"
)

// Hook is an object that Helm runs beside the release and that is not delivered.
type Hook struct {
	Kind, Name string
	// Events are as the chart says: "pre-install,pre-upgrade", "test".
	Events string
	// Template is the file it comes from.
	Template string
}

// isTest tells what only ever runs when somebody asks for a test.
func (h Hook) isTest() bool {
	return !slices.ContainsFunc(strings.Split(h.Events, ","), func(event string) bool {
		switch strings.ToLower(strings.TrimSpace(event)) {
		case "test", "test-success", "test-failure":
			return false
		}
		return true
	})
}

const hookAnnotation = "helm.sh/hook"

// sort divides what the templates gave into manifests and hooks. Tests are
// left out with a warning. Other hooks are refused unless they are to be
// skipped: a migration that never ran would be found too late.
func (r *Result) sort(rendered map[string]string, skip bool) error {
	var refused []string
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if isNotes(name) || blank(rendered[name]) {
			continue
		}
		hooks, err := r.take(name, rendered[name])
		if err != nil {
			return err
		}
		for _, h := range hooks {
			r.Hooks = append(r.Hooks, h)
			label := fmt.Sprintf("%s/%s (%s, in %s)", h.Kind, h.Name, h.Events, h.Template)
			switch {
			case h.isTest():
				r.Warnings = append(r.Warnings, label+" is a test and not delivered")
			case skip:
				r.Warnings = append(r.Warnings, label+" is a hook and was skipped, as asked")
			default:
				refused = append(refused, label)
			}
		}
	}
	if len(refused) > 0 {
		return fmt.Errorf("hooks are not run: %s: set skipHooks to deliver the rest without them", strings.Join(refused, "; "))
	}
	return nil
}

// take adds the manifests of one template and returns its hooks. Documents are
// told apart as Helm does, since charts are written for it.
func (r *Result) take(name, text string) ([]Hook, error) {
	var hooks []Hook
	var rest []string
	documents := util.SplitManifests(text)
	order := slices.Collect(maps.Keys(documents))
	sort.Sort(util.BySplitManifestsOrder(order))
	for _, key := range order {
		h, is, err := hookIn(documents[key])
		if err != nil {
			return nil, fmt.Errorf("%s renders to what is not YAML: %w", name, err)
		}
		if !is {
			rest = append(rest, documents[key])
			continue
		}
		h.Template = name
		hooks = append(hooks, h)
	}
	if len(rest) > 0 {
		r.Files = append(r.Files, content.File{Name: name, Data: []byte(strings.Join(rest, "\n---\n") + "\n")})
	}
	return hooks, nil
}

// hookIn tells whether a document is a hook. Only one that names the
// annotation is decoded here: all of them are, later.
func hookIn(document string) (h Hook, is bool, err error) {
	if !strings.Contains(document, hookAnnotation) {
		return Hook{}, false, nil
	}
	var head util.SimpleHead
	if err := yaml.Unmarshal([]byte(document), &head); err != nil || head.Metadata == nil {
		return Hook{}, false, err
	}
	events, is := head.Metadata.Annotations[hookAnnotation]
	return Hook{Kind: head.Kind, Name: head.Metadata.Name, Events: events}, is, nil
}
