package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

// entry asks for a content on a cluster.
func entry(content desired.Digest, change ...func(*desired.Entry)) *desired.Entry {
	e := &desired.Entry{
		Key: desired.Key{Project: "demo", Application: "shop"}, UID: "1", Content: content, Revision: desired.RevisionName("shop", content),
		Namespace: "demo", Policy: desired.Policy{OnDelete: v1alpha1.Delete, DeletionBudget: 2},
	}
	for _, c := range change {
		c(e)
	}
	return e
}

func configMaps(names ...string) string {
	text := ""
	for _, name := range names {
		text += fmt.Sprintf("---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}\n", name)
	}
	return text
}

func on(before, after *desired.Entry, names ...string) []Cluster {
	var all []Cluster
	for _, name := range names {
		all = append(all, Cluster{Name: name, Before: before, After: after, Facts: &v1alpha1.Facts{KubernetesVersion: "v1.31.2"}})
	}
	return all
}

func made(l library, clusters []Cluster) Plan {
	return Make(Input{Project: "demo", Application: "shop", Clusters: clusters, Content: l.read, Lifecycle: noLifecycle})
}

func TestClustersWithTheSameChangeStandTogetherDeletionsFirst(t *testing.T) {
	l := library{}
	old, next := entry(l.add(t, configMaps("a", "b"))), entry(l.add(t, configMaps("a", "c")))
	again := entry(old.Content, func(e *desired.Entry) { e.Generation = 7 })
	p := made(l, slices.Concat(
		on(nil, next, "new-1", "new-2"), on(old, next, "eu-2", "eu-1"), on(old, again, "us-1"),
		on(old, nil, "left"), on(old, entry(old.Content, func(e *desired.Entry) { e.Withdrawn = true }), "gone"),
	))
	var got []string
	for _, c := range p.Classes {
		got = append(got, fmt.Sprintf("%s %s -%d ~%d +%d", c.Effect, strings.Join(c.Clusters, ","), c.Deleted, c.Changed, c.Created))
	}
	want := []string{"Delete gone -2 ~0 +0", "Change eu-1,eu-2 -1 ~0 +1", "Orphan left -0 ~0 +0", "Deliver new-1,new-2 -0 ~0 +2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("classes (-want +got):\n%s", diff)
	}
	if p.Unchanged != 1 || !slices.Equal(p.Gained, []string{"new-1", "new-2"}) || !slices.Equal(p.Lost, []string{"gone", "left"}) {
		t.Errorf("unchanged %d, gained %v, lost %v", p.Unchanged, p.Gained, p.Lost)
	}
}

func TestWhatItsAnnotationsKeepIsNoDeletion(t *testing.T) {
	keep := func(kind, name, options string) string {
		return fmt.Sprintf("---\n{apiVersion: v1, kind: %s, metadata: {name: %s, annotations: {argocd.argoproj.io/sync-options: %s}}}\n", kind, name, options)
	}
	l := library{}
	old := entry(l.add(t, configMaps("goes", "stays")+keep("Secret", "pruned", "Prune=false")+keep("PersistentVolumeClaim", "data", "Delete=false")+
		"---\n{apiVersion: v1, kind: Namespace, metadata: {name: demo}}\n"))
	next := entry(l.add(t, configMaps("stays")))
	gone := entry(old.Content, func(e *desired.Entry) { e.Withdrawn = true })
	var got []string
	for _, after := range []*desired.Entry{next, gone} {
		c := made(l, on(old, after, "eu")).Classes[0]
		got = append(got, fmt.Sprintf("%s -%d =%d held %d:", c.Effect, c.Deleted, c.Kept, c.HeldCount))
		for _, o := range c.Objects {
			got = append(got, fmt.Sprintf("%s %s", o.Action, o.Ref.Name))
		}
	}
	want := []string{
		"Change -2 =2 held 1:", "Delete goes", "Delete data", "Keep demo", "Keep pruned",
		"Delete -3 =2 held 3:", "Delete goes", "Delete stays", "Delete pruned", "Keep demo", "Keep data",
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDeletionsThatAnAgentWouldHoldAreSaidToBe(t *testing.T) {
	claim := "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}}\n"
	for name, tt := range map[string]struct {
		before, after string
		held          int
		why           string
	}{
		"within the budget":      {configMaps("a", "b", "c"), configMaps("a"), 0, ""},
		"beyond the budget":      {configMaps("a", "b", "c", "d"), configMaps("a"), 3, "one sync may delete 2"},
		"all of it":              {configMaps("a"), "", 1, "suddenly yields nothing"},
		"a volume among others":  {configMaps("a", "b") + claim, configMaps("a"), 1, "volumes are deleted only when a person names them"},
		"nothing that goes away": {configMaps("a"), configMaps("a", "b"), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := library{}
			p := made(l, on(entry(l.add(t, tt.before)), entry(l.add(t, tt.after)), "eu-1"))
			if c := p.Classes[0]; c.HeldCount != tt.held || !strings.Contains(c.Held, tt.why) || tt.why == "" && c.Held != "" {
				t.Errorf("held %d: %q", c.HeldCount, c.Held)
			}
		})
	}
}

func TestNoSecretValueOrReferenceIsTold(t *testing.T) {
	l := library{}
	secret := "{apiVersion: v1, kind: Secret, metadata: {name: s, labels: {v: %q}}, stringData: {password: %q%s}}"
	old := entry(l.add(t, fmt.Sprintf(secret, "1", "swordfish", "")))
	p := made(l, on(old, entry(l.add(t, fmt.Sprintf(secret, "2", "marlin", ", more: tuna"))), "eu-1"))
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"swordfish", "marlin", "tuna", "hmac"} {
		if strings.Contains(string(data), word) {
			t.Errorf("%q is in %s", word, data)
		}
	}
	var got []string
	for _, f := range p.Classes[0].Objects[0].Fields {
		got = append(got, fmt.Sprintf("%s %v %v", f.Path, f.Old, f.New))
	}
	want := []string{"data.more <nil> (hidden)", "data.password (hidden) (hidden)", "metadata.labels.v 1 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestWhatAClusterDoesNotServeIsTold(t *testing.T) {
	l := library{}
	e := entry(l.add(t, `---
{apiVersion: policy/v1beta1, kind: PodDisruptionBudget, metadata: {name: a}}
---
{apiVersion: example.com/v1, kind: Ledger, metadata: {name: b}}
---
{apiVersion: defined.example.com/v1, kind: Thing, metadata: {name: c}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.defined.example.com}
spec: {group: defined.example.com, scope: Namespaced, names: {kind: Thing, plural: things}, versions: [{name: v1, served: true}]}
`))
	clusters := on(nil, e, "old", "new", "rich", "mute")
	clusters[0].Facts.KubernetesVersion = "v1.24.0"
	clusters[1].Facts = &v1alpha1.Facts{KubernetesVersion: "v1.36.1"}
	clusters[2].Facts = &v1alpha1.Facts{KubernetesVersion: "v1.19.0", APIGroups: []string{"example.com/v1"}}
	clusters[3].Facts = nil
	clusters[0].Facts.APIGroups = []string{"example.com/v1"}
	p := Make(Input{Project: "demo", Application: "shop", Clusters: clusters, Content: l.read, Lifecycle: func(gvk schema.GroupVersionKind) (Lifecycle, bool) {
		if gvk.Group != "policy" {
			return Lifecycle{}, false
		}
		return Lifecycle{Known: true, Introduced: Release{1, 5}, Deprecated: Release{1, 21}, Removed: Release{1, 25}, Replacement: "policy/v1 PodDisruptionBudget"}, true
	}})
	var got []string
	for _, a := range p.APIs {
		got = append(got, fmt.Sprintf("%s %s %s on %v: %s", a.Level, a.Version, a.Kind, a.Clusters, a.Message))
	}
	want := []string{
		"Missing example.com/v1 Ledger on [new]: example.com/v1 is not served there; deliver its CustomResourceDefinition first",
		"Missing policy/v1beta1 PodDisruptionBudget on [new]: Kubernetes serves it no more since 1.25; use policy/v1 PodDisruptionBudget",
		"Deprecated policy/v1beta1 PodDisruptionBudget on [old]: it is deprecated since Kubernetes 1.21 and goes with 1.25; use policy/v1 PodDisruptionBudget",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("APIs (-want +got):\n%s", diff)
	}
	if len(p.Unknown) != 1 || !slices.Equal(p.Unknown[0].Clusters, []string{"mute"}) {
		t.Errorf("unknown: %+v", p.Unknown)
	}
}

func TestWhatCannotBeToldIsNotPassedOverInSilence(t *testing.T) {
	l := library{}
	known := entry(l.add(t, configMaps("a")))
	hold := entry("", func(e *desired.Entry) { e.Hold = true })
	p := made(l, slices.Concat(on(hold, known, "held"), on(known, entry("sha256:lost"), "lost"), on(known, hold, "kept")))
	if len(p.Classes) != 0 || p.Unchanged != 1 || len(p.Unknown) != 2 {
		t.Fatalf("%+v", p)
	}
	if p.Unknown[0].Clusters[0] != "held" || p.Unknown[1].Clusters[0] != "lost" {
		t.Errorf("unknown: %+v", p.Unknown)
	}
}

func TestRefusalsNameTheObjectAndTheClustersThatKeepWhatTheyHave(t *testing.T) {
	l := library{}
	known, hold := entry(l.add(t, configMaps("a"))), entry("", func(e *desired.Entry) { e.Hold = true })
	next := assign.Plan{
		Decision: placement.Decision{Chosen: []string{"eu-1", "eu-2"}}, Entries: map[string]desired.Entry{"eu-1": *hold},
		Accepted: assign.Condition{Reason: "PolicyRefused", Message: "no"},
	}
	problem := report.Problem{Object: report.ObjectRef{Kind: "ClusterRole", Name: "root"}, Reason: "ClusterScoped", Message: "ask"}
	p := Make(Input{Clusters: on(known, hold, "eu-1"), Next: next, Refused: []report.Problem{problem}, Content: l.read, Lifecycle: noLifecycle})
	want := []Refusal{{Reason: "ClusterScoped", Message: "ask", Object: &problem.Object, Clusters: []string{"eu-1", "eu-2"}}}
	if diff := cmp.Diff(want, p.Refusals); diff != "" || p.Empty() {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	next.Accepted = assign.Condition{Reason: Fetching, Message: "it is being fetched"}
	if p := Make(Input{Next: next, Content: l.read, Lifecycle: noLifecycle}); len(p.Unknown) != 1 || len(p.Refusals) != 0 {
		t.Errorf("a source that was not fetched: %+v", p)
	}
}

// A class of a thousand clusters is compared once, and its objects are told up
// to a bound.
func TestThousandsOfClustersAndObjectsAreCounted(t *testing.T) {
	l := library{}
	var names, objects []string
	for i := range 3000 {
		names = append(names, fmt.Sprintf("c-%04d", i))
	}
	for i := range MaxObjects + 50 {
		objects = append(objects, fmt.Sprintf("m-%d", i))
	}
	reads := 0
	p := Make(Input{
		Clusters: on(entry(l.add(t, "")), entry(l.add(t, configMaps(objects...))), names...), Lifecycle: noLifecycle,
		Content: func(d desired.Digest) (content.Bundle, error) { reads++; return l.read(d) },
	})
	if c := p.Classes[0]; len(p.Classes) != 1 || len(c.Clusters) != 3000 || c.Created != MaxObjects+50 || len(c.Objects) != MaxObjects {
		t.Errorf("%d classes of %d clusters, %d of %d objects told", len(p.Classes), len(c.Clusters), len(c.Objects), c.Created)
	}
	if reads != 2 {
		t.Errorf("contents were read %d times", reads)
	}
}
