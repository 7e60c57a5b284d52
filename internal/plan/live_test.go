package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/report"
)

// there is a live object whose fields these managers have.
func there(change func(*unstructured.Unstructured), managers ...string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}}}
	var fields []metav1.ManagedFieldsEntry
	for _, m := range managers {
		fields = append(fields, metav1.ManagedFieldsEntry{Manager: m, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1("{}")})
	}
	u.SetManagedFields(fields)
	if change != nil {
		change(u)
	}
	return u
}

func TestAnObjectMeetsWhatIsThereAlready(t *testing.T) {
	p := &Plan{Project: "demo", Application: "shop"}
	argo := func(u *unstructured.Unstructured) {
		u.SetAnnotations(map[string]string{"argocd.argoproj.io/tracking-id": "old:/ConfigMap:x/a"})
	}
	made := func(u *unstructured.Unstructured) {
		yes := true
		u.SetOwnerReferences([]metav1.OwnerReference{{Kind: "Widget", Name: "w", Controller: &yes}})
	}
	for name, tt := range map[string]struct {
		action Action
		adopt  bool
		live   *unstructured.Unstructured
		kind   FindingKind
		words  string
	}{
		"what comes and is not there":                      {action: Create},
		"what comes and is somebody's":                     {action: Create, live: there(nil, "kubectl"), kind: FoundConflict, words: "by kubectl"},
		"what comes and a controller made":                 {action: Create, live: there(made, "widgets"), kind: FoundConflict, words: "made by Widget w"},
		"what comes and is adopted":                        {action: Create, adopt: true, live: there(nil, "kubectl"), kind: FoundAdoption, words: "taken over"},
		"what comes and is its own, from before":           {action: Create, live: there(nil, "kubectl", "atoll/demo/shop")},
		"what comes and is another application's":          {action: Create, adopt: true, live: there(nil, "atoll/demo/other"), kind: FoundOwned, words: "demo/other"},
		"what comes and Argo CD reconciles":                {action: Create, adopt: true, live: there(argo, "argocd-controller"), kind: FoundOwned, words: "Argo CD application old"},
		"a mark that is of its own manifest":               {action: Create, live: there(argo, "atoll/demo/shop")},
		"what changes and is its own":                      {action: Change, live: there(nil, "atoll/demo/shop", "kubectl-edit")},
		"what changes and is not there":                    {action: Change, kind: FoundMissing, words: "made anew"},
		"what changes and somebody else made in its place": {action: Change, live: there(nil, "kubectl"), kind: FoundConflict, words: "by kubectl"},
		"what goes and is there":                           {action: Delete, live: there(nil, "atoll/demo/shop")},
		"what stays and is gone":                           {action: Keep},
		"what stays and is another application's by now":   {action: Keep, live: there(nil, "atoll/demo/other")},
		"what goes and is gone":                            {action: Delete, kind: FoundMissing, words: "gone already"},
	} {
		t.Run(name, func(t *testing.T) {
			f, ok := p.Meet(Object{Ref: report.ObjectRef{Version: "v1", Kind: "ConfigMap", Name: "a"}, Action: tt.action}, tt.adopt, tt.live)
			if ok != (tt.kind != "") || f.Kind != tt.kind || !strings.Contains(f.Message, tt.words) {
				t.Errorf("found %v: %+v", ok, f)
			}
		})
	}
}

func TestWhatIsTheSameOnSeveralClustersIsToldOnce(t *testing.T) {
	a := report.ObjectRef{Version: "v1", Kind: "ConfigMap", Name: "a"}
	drift := func(at int64) Finding {
		return Finding{Kind: FoundDrift, Ref: a, Changes: []report.Change{{Path: "data.x", Old: "1", New: "2", At: at}}}
	}
	p := &Plan{}
	p.Found("eu-2", drift(5))
	p.Found("eu-1", drift(7), Finding{Kind: FoundConflict, Ref: a})
	p.SortLive()
	want := []Finding{{Kind: FoundConflict, Ref: a, Clusters: []string{"eu-1"}}, drift(5)}
	want[1].Clusters = []string{"eu-1", "eu-2"}
	if diff := cmp.Diff(want, p.Live); diff != "" {
		t.Error(diff)
	}
	p.Unsaid("eu-3", "away")
	p.Unsaid("eu-3", "away")
	if diff := cmp.Diff([]Unknown{{Clusters: []string{"eu-3"}, Message: "away"}}, p.Unknown); diff != "" {
		t.Error(diff)
	}
}
