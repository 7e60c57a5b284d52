package managed_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/managed"
)

const live = `
apiVersion: atoll.dev/v1alpha1
kind: Application
metadata:
  name: web
  labels: {team: red}
  managedFields:
  - {manager: atoll/gitops/apps, operation: Apply, fieldsV1: {"f:spec": {"f:placement": {"f:clusters": {}}, "f:variables": {"f:color": {}}}}}
  - {manager: atoll/gitops/apps, operation: Update, subresource: status, fieldsV1: {"f:status": {}}}
  - {manager: atoll, operation: Apply, fieldsV1: {"f:metadata": {"f:labels": {"f:team": {}}}}}
  - {manager: atoll-agent, operation: Apply, fieldsV1: {}}
spec:
  placement: {clusters: stage=one}
  variables: {color: red}
`

func object(t *testing.T, change func(map[string]any)) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(live), &o.Object); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(o.Object)
	}
	return o
}

func set(t *testing.T, value any, path ...string) func(map[string]any) {
	return func(o map[string]any) {
		t.Helper()
		if err := unstructured.SetNestedField(o, value, path...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheFieldsOfAnApplicationAreItsOwn(t *testing.T) {
	apps := managed.Manager{Project: "gitops", Application: "apps"}
	if got := managed.Of(object(t, nil)); !slices.Equal(got, []managed.Manager{apps}) {
		t.Fatalf("it is managed by %v", got)
	}
	for name, tt := range map[string]struct {
		change func(map[string]any)
		want   []string
	}{
		"nothing":            {nil, nil},
		"a field of its":     {set(t, "stage=two", "spec", "placement", "clusters"), []string{"spec.placement.clusters"}},
		"one that is gone":   {func(o map[string]any) { unstructured.RemoveNestedField(o, "spec", "variables") }, []string{"spec.variables"}},
		"a field of others":  {set(t, "blue", "metadata", "labels", "team"), nil},
		"an addition":        {set(t, "large", "spec", "variables", "size"), nil},
		"the ownership":      {func(o map[string]any) { unstructured.RemoveNestedField(o, "metadata", "managedFields") }, []string{"metadata.managedFields"}},
		"a number for words": {set(t, int64(1), "spec", "placement", "clusters"), []string{"spec.placement.clusters"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := managed.Changed(apps, object(t, nil), object(t, tt.change))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnOverrideSaysWhoWhyAndForHowLong(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	words := func(by, reason string, until time.Duration) map[string]string {
		return map[string]string{
			v1alpha1.AnnotationOverrideBy: by, v1alpha1.AnnotationOverrideReason: reason,
			v1alpha1.AnnotationPauseUntil: now.Add(until).Format(time.RFC3339),
		}
	}
	good := words("ann", "INC-1", time.Hour)
	for name, tt := range map[string]struct {
		new, old map[string]string
		fine     bool
	}{
		"none":                   {nil, nil, true},
		"a good one":             {good, nil, true},
		"somebody else's":        {words("bob", "INC-1", time.Hour), nil, false},
		"without a reason":       {words("ann", " ", time.Hour), nil, false},
		"too long":               {words("ann", "INC-1", 25*time.Hour), nil, false},
		"over already":           {words("ann", "INC-1", -time.Hour), nil, false},
		"taken back":             {nil, good, true},
		"left as it is":          {words("bob", "INC-1", -time.Hour), words("bob", "INC-1", -time.Hour), true},
		"another's made longer":  {words("bob", "INC-1", 2*time.Hour), words("bob", "INC-1", time.Hour), false},
		"another's in own words": {words("ann", "INC-2", time.Hour), words("bob", "INC-1", time.Hour), true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := managed.CheckOverride(tt.new, tt.old, "ann", now); (err == nil) != tt.fine {
				t.Errorf("the answer is %v", err)
			}
		})
	}
	if o, given := managed.OverrideOf(good); !given || !o.Holds(now) || o.Holds(now.Add(time.Hour)) {
		t.Errorf("it holds at the wrong time: %v, %v", o, given)
	}
	for name, a := range map[string]map[string]string{
		"garbage":  {v1alpha1.AnnotationOverrideReason: "x", v1alpha1.AnnotationPauseUntil: "tomorrow"},
		"no time":  {v1alpha1.AnnotationOverrideReason: "x"},
		"for ever": {v1alpha1.AnnotationOverrideReason: "x", v1alpha1.AnnotationPauseUntil: "9999-01-01T00:00:00Z"},
	} {
		if o, _ := managed.OverrideOf(a); o.Holds(now) {
			t.Errorf("%s holds", name)
		}
	}
}
