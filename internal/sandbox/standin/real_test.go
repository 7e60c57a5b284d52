package standin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/sandbox/standin"
)

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	spaces     = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// side is one of two API servers that are asked the same.
type side struct {
	configMaps dynamic.ResourceInterface
	mu         sync.Mutex
	seen       []string // what a watch told
}

func open(t *testing.T, cfg *rest.Config, namespace string) *side {
	t.Helper()
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	c, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace}}}
	if _, err := c.Resource(spaces).Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s := &side{configMaps: c.Resource(configMaps).Namespace(namespace)}
	s.follow(t)
	return s
}

// follow notes the events of objects whose label says so.
func (s *side) follow(t *testing.T) {
	t.Helper()
	w, err := s.configMaps.Watch(t.Context(), metav1.ListOptions{LabelSelector: "watched=yes"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	go func() {
		for e := range w.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok {
				s.mu.Lock()
				s.seen = append(s.seen, string(e.Type)+" "+essence(u))
				s.mu.Unlock()
			}
		}
	}()
}

func (s *side) events() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

// step is one request, the same for both sides.
type step struct {
	verb, name, manager, value, label string
	field                             string
	force, dryRun, otherUID           bool
}

func drawStep(t *rapid.T) step {
	return step{
		verb:    rapid.SampledFrom([]string{"apply", "apply", "apply", "json", "merge", "update", "create", "delete", "get"}).Draw(t, "verb"),
		name:    rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"),
		manager: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "manager"),
		field:   rapid.SampledFrom([]string{"x", "y"}).Draw(t, "field"),
		value:   rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "value"),
		label:   rapid.SampledFrom([]string{"yes", "no"}).Draw(t, "label"),
		force:   rapid.Bool().Draw(t, "force"), dryRun: rapid.IntRange(0, 5).Draw(t, "dry") == 0,
		otherUID: rapid.IntRange(0, 3).Draw(t, "uid") == 0,
	}
}

func (p step) dry() []string {
	if p.dryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}

func (p step) object() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": p.name, "labels": map[string]any{"watched": p.label}},
		"data":     map[string]any{p.field: p.value},
	}}
}

// do asks one side, and tells what came back: all that a client may rely on.
func (s *side) do(ctx context.Context, p step) string {
	var u *unstructured.Unstructured
	var err error
	c := s.configMaps
	switch p.verb {
	case "apply":
		body, _ := json.Marshal(p.object().Object)
		u, err = c.Patch(ctx, p.name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: p.manager, Force: &p.force, DryRun: p.dry()})
	case "json":
		u, err = c.Patch(ctx, p.name, types.JSONPatchType, fmt.Appendf(nil, `[{"op":"replace","path":"/data/%s","value":%q}]`, p.field, p.value), metav1.PatchOptions{FieldManager: p.manager, DryRun: p.dry()})
	case "merge":
		u, err = c.Patch(ctx, p.name, types.MergePatchType, fmt.Appendf(nil, `{"data":{%q:null}}`, p.field), metav1.PatchOptions{FieldManager: p.manager, DryRun: p.dry()})
	case "update":
		u, err = c.Update(ctx, p.object(), metav1.UpdateOptions{FieldManager: p.manager, DryRun: p.dry()})
	case "create":
		u, err = c.Create(ctx, p.object(), metav1.CreateOptions{FieldManager: p.manager, DryRun: p.dry()})
	case "get":
		u, err = c.Get(ctx, p.name, metav1.GetOptions{})
	case "delete":
		options := metav1.DeleteOptions{DryRun: p.dry()}
		if p.otherUID {
			uid := types.UID("another")
			options.Preconditions = &metav1.Preconditions{UID: &uid}
		}
		err = c.Delete(ctx, p.name, options)
	}
	if err != nil {
		return string(apierrors.ReasonForError(err))
	}
	return essence(u)
}

// essence is an object without what differs by nature.
func essence(u *unstructured.Unstructured) string {
	if u == nil {
		return ""
	}
	managers := map[string]any{}
	for _, e := range u.GetManagedFields() {
		managers[e.Manager+" "+string(e.Operation)] = e.FieldsV1.GetRawString()
	}
	return fmt.Sprint(u.GetName(), u.GetLabels(), u.Object["data"], u.GetUID() != "", managers)
}

// TestItAnswersAsARealOne asks a real API server and a stand-in the same
// things, and wants the same answers, objects, owners of fields and events.
func TestItAnswersAsARealOne(t *testing.T) {
	real, err := sandbox.Shared(t, "real").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	member := standin.New(standin.Options{Name: "m", UID: "u", Version: "v1.36.3"})
	t.Cleanup(member.Close)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		namespace := fmt.Sprintf("round-%d", round)
		sides := []*side{open(t, real, namespace), open(t, member.Config(), namespace)}
		for i, p := range rapid.SliceOfN(rapid.Custom(drawStep), 1, 25).Draw(rt, "steps") {
			want, got := sides[0].do(t.Context(), p), sides[1].do(t.Context(), p)
			if want != got {
				rt.Fatalf("step %d, %+v:\nreal     %s\nstand-in %s", i+1, p, want, got)
			}
		}
		sameEvents(rt, sides[0], sides[1])
	})
}

// sameEvents waits until both watches told the same.
func sameEvents(t *rapid.T, real, standin *side) {
	for late := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		want, got := real.events(), standin.events()
		if reflect.DeepEqual(want, got) {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("events differ:\nreal     %q\nstand-in %q", want, got)
		}
	}
}
