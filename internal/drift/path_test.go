package drift

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"atoll.dev/atoll/api/v1alpha1"
)

func TestParsePathRefusesWithAReason(t *testing.T) {
	for text, reason := range map[string]string{
		"":                       "is empty",
		".":                      "is empty",
		"a..b":                   "a step is empty",
		"a.":                     "ends with a dot",
		"[0].a":                  "begin with a field's name",
		"a[":                     "not closed",
		"a[]":                    "a bracket is empty",
		"a[0]b":                  "after a bracket",
		strings.Repeat("a.", 80): "more than",
	} {
		if _, err := ParsePath(text); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want %q", text, err, reason)
		}
	}
}

func TestPathsCoverWhatTheySelect(t *testing.T) {
	image := fieldpath.MakePathOrDie("spec", "template", "spec", "containers", fieldpath.KeyByFields("name", "web"), "image")
	port := fieldpath.MakePathOrDie("spec", "ports", fieldpath.KeyByFields("port", 80, "protocol", "TCP"), "targetPort")
	note := fieldpath.MakePathOrDie("metadata", "annotations", "example.com/x")
	for _, c := range []struct {
		path    string
		leaf    fieldpath.Path
		covered bool
	}{
		{"spec", image, true},
		{"spec.template.spec.containers[name=web].image", image, true},
		{"spec.template.spec.containers[name=db].image", image, false},
		{"spec.template.spec.containers[*].image", image, true},
		{"spec.template.spec.containers[*].resources", image, false},
		{"spec.template.spec.containers[name=web].image.more", image, false},
		{"spec.ports[port=80]", port, true},
		{"spec.ports[port=80,protocol=TCP].targetPort", port, true},
		{"spec.ports[port=80,protocol=UDP].targetPort", port, false},
		{"metadata.annotations[example.com/x]", note, true},
		{"metadata.annotations[*]", note, true},
		{"metadata.annotations[example.com/y]", note, false},
	} {
		p, err := ParsePath(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Paths{p}).Covers(c.leaf); got != c.covered {
			t.Errorf("%s covers %s: %v", c.path, c.leaf, got)
		}
	}
}

func TestDottedReadsBack(t *testing.T) {
	for _, leaf := range []fieldpath.Path{
		fieldpath.MakePathOrDie("spec", "template", "spec", "containers", fieldpath.KeyByFields("name", "web"), "image"),
		fieldpath.MakePathOrDie("spec", "ports", fieldpath.KeyByFields("port", 80, "protocol", "TCP")),
		fieldpath.MakePathOrDie("metadata", "annotations", "example.com/x"),
	} {
		p, err := ParsePath(Dotted(leaf))
		if err != nil {
			t.Fatalf("%s: %v", leaf, err)
		}
		if !p.covers(leaf) {
			t.Errorf("%s does not cover %s", p, leaf)
		}
	}
}

func TestRulesSelectByKindAndName(t *testing.T) {
	rules, err := CompileRules([]v1alpha1.FieldRule{
		{Paths: []string{"metadata.labels"}},
		{Group: "apps", Kind: "Deployment", Paths: []string{"spec.replicas"}},
		{Kind: "Deployment", Name: "web", Paths: []string{"spec.paused"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		gk   schema.GroupKind
		name string
		want int
	}{
		{schema.GroupKind{Group: "apps", Kind: "Deployment"}, "web", 3},
		{schema.GroupKind{Group: "apps", Kind: "Deployment"}, "db", 2},
		{schema.GroupKind{Kind: "ConfigMap"}, "web", 1},
	} {
		if got := len(rules.For(c.gk, c.name)); got != c.want {
			t.Errorf("%s %s: %d paths", c.gk, c.name, got)
		}
	}
	if _, err := CompileRules([]v1alpha1.FieldRule{{Paths: []string{"ok", "a..b"}}, {Paths: []string{""}}}); err == nil ||
		!strings.Contains(err.Error(), "rule 0, path 1") || !strings.Contains(err.Error(), "rule 1, path 0") {
		t.Errorf("not every wrong path is named: %v", err)
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{"spec.replicas", "a[b=c].d", "metadata.annotations[x/y]", "a[*][0]", ".a", "a[b,c=d]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePath(text)
		if err != nil {
			return
		}
		again, err := ParsePath(p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q reads back as %q: %v", text, again, err)
		}
		manifest := map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": "d"}, "e"}}}
		Without(manifest, Paths{p})
	})
}
