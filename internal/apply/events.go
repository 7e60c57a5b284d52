package apply

import (
	"context"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	kjson "sigs.k8s.io/json"
)

// events are a running watch; next is false at its end.
type events struct {
	next func() (watch.Event, bool)
	stop func()
}

// events opens a watch from where the options say.
func (c *clients) events(ctx context.Context, spec watchSpec, options metav1.ListOptions) (events, error) {
	if spec.full {
		return c.wholeEvents(ctx, spec, options)
	}
	w, err := c.metadata.Resource(spec.kind.gvr).Namespace(spec.namespace).Watch(ctx, options)
	if err != nil {
		return events{}, err
	}
	next := func() (watch.Event, bool) { event, ok := <-w.ResultChan(); return event, ok }
	return events{next: next, stop: w.Stop}, nil
}

// wholeEvents decodes each event once, from the stream into the object. The
// dynamic client reads the same bytes five times over, to frame them, to learn
// what they are and to check them, which was a third of what an agent used.
func (c *clients) wholeEvents(ctx context.Context, spec watchSpec, options metav1.ListOptions) (events, error) {
	options.Watch = true
	body, err := c.raw.Get().AbsPath(pathOf(spec)...).
		SetHeader("Accept", runtime.ContentTypeJSON).
		SpecificallyVersionedParams(&options, metav1.ParameterCodec, metav1.Unversioned).
		Stream(ctx)
	if err != nil {
		return events{}, err
	}
	return events{next: decoding(body), stop: func() { _ = body.Close() }}, nil // it was read to the end, or nobody wants it
}

func pathOf(spec watchSpec) []string {
	gvr := spec.kind.gvr
	path := []string{"/apis", gvr.Group, gvr.Version}
	if gvr.Group == "" {
		path = []string{"/api", gvr.Version}
	}
	if spec.namespace != "" {
		path = append(path, "namespaces", spec.namespace)
	}
	return append(path, gvr.Resource)
}

// decoding reads events one by one. What cannot be read is the end: the watch
// goes on where the last event left it.
func decoding(stream io.Reader) func() (watch.Event, bool) {
	decoder := kjson.NewDecoderCaseSensitivePreserveInts(stream)
	return func() (watch.Event, bool) {
		var event struct {
			Type   watch.EventType `json:"type"`
			Object map[string]any  `json:"object"`
		}
		if err := decoder.Decode(&event); err != nil || event.Object == nil {
			return watch.Event{}, false
		}
		if event.Type != watch.Error {
			return watch.Event{Type: event.Type, Object: &unstructured.Unstructured{Object: event.Object}}, true
		}
		status := &metav1.Status{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(event.Object, status); err != nil {
			return watch.Event{}, false
		}
		return watch.Event{Type: watch.Error, Object: status}, true
	}
}
