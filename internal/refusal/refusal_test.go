package refusal_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/refusal"
)

func TestRefusedFieldsAreReadOutOfTheSentence(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		want    []refusal.Field
	}{
		"one field that does not exist": {
			`failed to create typed patch object (demo/shop; atoll.dev/v1alpha1, Kind=Application): .spec.placment: field not declared in schema`,
			[]refusal.Field{{Path: "spec.placment", Why: "there is no such field"}},
		},
		"several": {
			"failed to create typed patch object (x; y): errors:\n  .spec.a: field not declared in schema\n  .spec.b: field not declared in schema",
			[]refusal.Field{{Path: "spec.a", Why: "there is no such field"}, {Path: "spec.b", Why: "there is no such field"}},
		},
		"a value of the wrong type, wrapped by the caller": {
			`apply it: failed to create typed patch object (p/web; apps/v1, Kind=Deployment): .spec.replicas: expected numeric (int or float), got &value.valueUnstructured{Value:"many"}`,
			[]refusal.Field{{Path: "spec.replicas", Why: `expected numeric (int or float), got "many"`}},
		},
		"another error": {"deployments.apps \"web\" is forbidden", nil},
		"half of it":    {"failed to create typed patch object (p/web", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, refusal.Fields(c.message)); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzFields(f *testing.F) {
	f.Add("failed to create typed patch object (x; y): errors:\n  .spec.a: field not declared in schema")
	f.Fuzz(func(t *testing.T, message string) {
		for _, field := range refusal.Fields(message) {
			if strings.Contains(field.Path, "\n") || !strings.Contains(message, field.Path) {
				t.Errorf("%q is no field of %q", field.Path, message)
			}
		}
	})
}
