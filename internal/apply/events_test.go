package apply

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

func TestEventsAreReadAsTheyCome(t *testing.T) {
	// Whole numbers stay whole, or every hash of them would differ from that of
	// the response to an apply; where an event ends, its own braces say.
	next := decoding(strings.NewReader(`{"type":"ADDED","object":{"kind":"D","metadata":{"resourceVersion":"7"},"spec":{"replicas":3,"share":0.5}}}
{"type":"BOOKMARK","object":{"kind":"D","metadata":{"resourceVersion":"8"}}} {
 "type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410}}
{"type":"DELE`))
	event, ok := next()
	if !ok || event.Type != watch.Added {
		t.Fatalf("%v %v", event, ok)
	}
	want := map[string]any{"kind": "D", "metadata": map[string]any{"resourceVersion": "7"}, "spec": map[string]any{"replicas": int64(3), "share": 0.5}}
	if diff := cmp.Diff(want, event.Object.(*unstructured.Unstructured).Object); diff != "" {
		t.Error(diff)
	}
	if event, ok = next(); !ok || event.Type != watch.Bookmark {
		t.Errorf("%v %v", event, ok)
	}
	if event, ok = next(); !ok || !apierrors.IsResourceExpired(apierrors.FromObject(event.Object)) {
		t.Errorf("%v %v", event, ok)
	}
	if event, ok = next(); ok {
		t.Errorf("half an event is taken for %v", event)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add(`{"type":"ADDED","object":{"metadata":{"resourceVersion":7,"uid":[]}}}`)
	f.Add(`{"type":"ERROR","object":{"code":"x"}}`)
	f.Add(`{"type":"MODIFIED","object":null}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, stream string) {
		next := decoding(strings.NewReader(stream))
		for range len(stream) + 1 {
			event, ok := next()
			if !ok {
				return
			}
			if u, whole := event.Object.(*unstructured.Unstructured); whole {
				_, _, _ = u.GetResourceVersion(), u.GetUID(), u.GetManagedFields()
			}
		}
		t.Error("more events than bytes")
	})
}
