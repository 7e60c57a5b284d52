package syncoption

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/drift"
)

// Bounds of atoll.dev/ignore, those of a rule in spec.drift.ignore.
const (
	maxPaths = 64
	maxPath  = 1024
)

// ignored reads field paths separated by commas. A comma within brackets belongs
// to the path.
func ignored(text string) (drift.Paths, error) {
	words := pathsOf(text)
	if len(words) == 0 {
		return nil, fmt.Errorf(`%s is empty: give field paths such as "spec.replicas"`, v1alpha1.AnnotationIgnore)
	}
	if len(words) > maxPaths {
		return nil, fmt.Errorf("%s names %d paths, more than %d", v1alpha1.AnnotationIgnore, len(words), maxPaths)
	}
	var paths drift.Paths
	for _, word := range words {
		path, err := pathOf(word)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v1alpha1.AnnotationIgnore, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func pathOf(word string) (drift.Path, error) {
	switch {
	case len(word) > maxPath:
		return nil, fmt.Errorf("path %q has more than %d characters", clip(word), maxPath)
	case strings.Contains(word, "['") || strings.Contains(word, `["`):
		return nil, fmt.Errorf("path %q: write what is in brackets without quotes", clip(word))
	}
	path, err := drift.ParsePath(word)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(identity, drift.Paths{path}.Covers) {
		return nil, fmt.Errorf("path %q: without it nothing can be applied; name fields below it, or others", clip(word))
	}
	return path, nil
}

// identity are fields without which nothing can be applied.
var identity = []fieldpath.Path{
	fieldpath.MakePathOrDie("apiVersion"), fieldpath.MakePathOrDie("kind"),
	fieldpath.MakePathOrDie("metadata", "name"), fieldpath.MakePathOrDie("metadata", "namespace"),
}

func pathsOf(text string) []string {
	var words []string
	depth, from := 0, 0
	add := func(word string) {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	for i, r := range text {
		switch {
		case r == '[':
			depth++
		case r == ']' && depth > 0:
			depth--
		case r == ',' && depth == 0:
			add(text[from:i])
			from = i + 1
		}
	}
	add(text[from:])
	return words
}
