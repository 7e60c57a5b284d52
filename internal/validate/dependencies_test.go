package validate

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

func TestAnApplicationNamesEachDependencyOnceAndNeverItself(t *testing.T) {
	list := []v1alpha1.Dependency{{Application: "db"}, {Application: "shop"}, {Application: "db"}, {Application: "Cache"}}
	errs := dependencies(field.NewPath("spec", "dependsOn"), "shop", list)
	var said []string
	for _, err := range errs {
		said = append(said, err.Error())
	}
	if len(said) != 3 || !strings.Contains(said[0], "cannot wait for itself") || !strings.Contains(said[1], "spec.dependsOn[2].application: Duplicate") {
		t.Errorf("%q", said)
	}
}

func TestACycleIsFoundWithItsWay(t *testing.T) {
	graph := map[string][]string{
		"a": {"b", "c"}, "b": {"d"}, "c": {"d", "e"}, "d": {}, "e": {"f"}, "f": {"e"},
		"x": {"y"}, "y": {"z", "a"}, "z": {"x"},
	}
	of := func(name string) ([]string, error) { return graph[name], nil }
	for name, want := range map[string][]string{
		"a": nil, // e and f wait for each other, and not for a
		"e": {"e", "f", "e"},
		"x": {"x", "y", "z", "x"},
		"d": nil,
	} {
		got, err := Cycle(name, of)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if !slices.Equal(DependsOn(&v1alpha1.Application{Spec: v1alpha1.ApplicationSpec{DependsOn: []v1alpha1.Dependency{{Application: "db"}}}}), []string{"db"}) {
		t.Error("what an application depends on is lost")
	}
}
