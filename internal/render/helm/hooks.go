package helm

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/phase"
)

// Hook is an object that Helm runs beside the release and that is left out.
type Hook struct {
	Kind, Name string
	// Events are as the chart says: "pre-install,pre-upgrade", "test".
	Events string
	// Template is the file it comes from.
	Template string
}

// String names it for people.
func (h Hook) String() string {
	return fmt.Sprintf("%s/%s (%s, in %s)", h.Kind, h.Name, h.Events, h.Template)
}

// sort takes what the templates gave. Hooks are delivered with the rest, in the
// order that internal/phase reads from them; what has no place in a delivery, and
// all of them where they are to be skipped, is left out with a warning.
func (r *Result) sort(rendered map[string]string, o Options) error {
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if isNotes(name) || blank(rendered[name]) {
			continue
		}
		if err := r.take(name, rendered[name], o); err != nil {
			return err
		}
	}
	return nil
}

// take adds the manifests of one template. Documents are told apart as Helm
// does, since charts are written for it.
func (r *Result) take(name, text string, o Options) error {
	var rest []string
	documents := util.SplitManifests(text)
	order := slices.Collect(maps.Keys(documents))
	sort.Sort(util.BySplitManifestsOrder(order))
	for _, key := range order {
		h, why, err := leftOut(name, documents[key], o.SkipHooks)
		if err == nil && o.Tests && !o.SkipHooks && h.tests() {
			why = ""
			documents[key], err = verifying(documents[key])
		}
		if err != nil {
			return err
		}
		if why == "" {
			rest = append(rest, documents[key])
			continue
		}
		r.Hooks = append(r.Hooks, h)
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s %s: not delivered", h, why))
	}
	if len(rest) > 0 {
		r.Files = append(r.Files, content.File{Name: name, Data: []byte(strings.Join(rest, "\n---\n") + "\n")})
	}
	return nil
}

// tests tells what `helm test` runs. Helm 2's tests that are to fail have no
// successor.
func (h Hook) tests() bool {
	for word := range strings.SplitSeq(strings.ToLower(h.Events), ",") {
		if word = strings.TrimSpace(word); word != "test" && word != "test-success" {
			return false
		}
	}
	return true
}

// verifying is the manifest of a test as an object of phase Verify. Of several
// events of its own it would have said so; a word of ours that it brings is kept.
func verifying(document string) (string, error) {
	var manifest map[string]any
	if err := yaml.Unmarshal([]byte(document), &manifest); err != nil {
		return "", fmt.Errorf("read a test: %w", err)
	}
	if err := unstructured.SetNestedField(manifest, phase.Verify.String(), "metadata", "annotations", v1alpha1.AnnotationPhase); err != nil {
		return "", fmt.Errorf("mark a test: %w", err)
	}
	data, err := yaml.Marshal(manifest)
	if err != nil {
		return "", fmt.Errorf("write a test: %w", err)
	}
	return string(data), nil
}

// leftOut tells why a document is a hook that is not delivered; empty when it is
// delivered. Only one that names the annotation is decoded here: all of them are,
// later.
func leftOut(template, document string, skip bool) (h Hook, why string, err error) {
	if !strings.Contains(document, phase.HelmHook) {
		return Hook{}, "", nil
	}
	var head util.SimpleHead
	if err := yaml.Unmarshal([]byte(document), &head); err != nil {
		return Hook{}, "", fmt.Errorf("%s renders to what is not YAML: %w", template, err)
	}
	if head.Metadata == nil {
		return Hook{}, "", nil
	}
	events, is := head.Metadata.Annotations[phase.HelmHook]
	if !is {
		return Hook{}, "", nil
	}
	h = Hook{Kind: head.Kind, Name: head.Metadata.Name, Events: events, Template: template}
	mark, err := phase.Read(head.Metadata.Annotations)
	switch {
	case skip && mark.LeftOut == "":
		return h, "is a hook and was skipped, as asked", nil
	case err != nil:
		return Hook{}, "", fmt.Errorf("%s: %w; or set skipHooks to deliver the rest without hooks", h, err)
	}
	return h, mark.LeftOut, nil
}
