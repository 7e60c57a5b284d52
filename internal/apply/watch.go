package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// watchKey names a watch: a resource, in one namespace or in all.
type watchKey struct {
	gvr       schema.GroupVersionResource
	namespace string
}

// watchSpec is what to watch and whom to tell. Nothing is cached here: each
// object is handed on and forgotten.
type watchSpec struct {
	kind      kind
	namespace string // "" is all
	labels    string
	fields    string
	full      bool // else only metadata
	// see takes an object as it is, or as it was when deleted.
	see func(obj metav1.Object, deleted bool)
	// listed takes the names of all objects after every list.
	listed func(present map[nameKey]bool)
	// denied takes a refusal to list; true ends the watch.
	denied func(err error) bool
}

type nameKey struct{ namespace, name string }

// watcher is a running watch.
type watcher struct {
	spec watchSpec
	stop context.CancelFunc
}

// pageSize bounds what is decoded at once.
const pageSize = 250

// watch lists, then follows, for ever. e.mu is held.
func (e *Engine) watch(spec watchSpec) *watcher {
	ctx, stop := context.WithCancel(e.ctx)
	go e.follows(ctx, spec)
	return &watcher{spec: spec, stop: stop}
}

func (e *Engine) follows(ctx context.Context, spec watchSpec) {
	for failures := 0; ctx.Err() == nil; {
		if e.reach.Wait(ctx) != nil {
			return
		}
		version, err := e.list(ctx, spec)
		if err == nil {
			failures = 0
			err = e.stream(ctx, spec, version)
		}
		if err == nil || ctx.Err() != nil {
			continue // the server asks to list again
		}
		if (apierrors.IsForbidden(err) || apierrors.IsNotFound(err)) && spec.denied != nil && spec.denied(err) {
			return
		}
		e.log.Debug("a watch is interrupted", "resource", spec.kind.gvr.String(), "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(backoff(failures, 100*time.Millisecond, 15*time.Second)):
		}
		failures++
	}
}

// list hands on every object, page by page, and returns where to watch from.
func (e *Engine) list(ctx context.Context, spec watchSpec) (string, error) {
	present := map[nameKey]bool{}
	options := metav1.ListOptions{LabelSelector: spec.labels, FieldSelector: spec.fields, Limit: pageSize}
	for {
		page, err := e.listPage(ctx, spec, options)
		if err != nil {
			return "", err
		}
		err = meta.EachListItem(page.list, func(item runtime.Object) error {
			obj, err := meta.Accessor(item)
			if err != nil {
				return fmt.Errorf("list %s: %w", spec.kind.gvr, err)
			}
			present[nameKey{obj.GetNamespace(), obj.GetName()}] = true
			spec.see(obj, false)
			return nil
		})
		if err != nil {
			return "", err
		}
		if options.Continue = page.next; options.Continue == "" {
			if spec.listed != nil {
				spec.listed(present)
			}
			return page.version, nil
		}
	}
}

type page struct {
	list          runtime.Object
	version, next string
}

func (e *Engine) listPage(ctx context.Context, spec watchSpec, o metav1.ListOptions) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var list runtime.Object
	var err error
	if spec.full {
		list, err = e.clients.own.Resource(spec.kind.gvr).Namespace(spec.namespace).List(ctx, o)
	} else {
		list, err = e.clients.metadata.Resource(spec.kind.gvr).Namespace(spec.namespace).List(ctx, o)
	}
	if err != nil {
		return page{}, fmt.Errorf("list %s: %w", spec.kind.gvr.Resource, err)
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return page{}, fmt.Errorf("list %s: %w", spec.kind.gvr.Resource, err)
	}
	return page{list: list, version: m.GetResourceVersion(), next: m.GetContinue()}, nil
}

// errExpired tells that the watch can't go on from where it was.
var errExpired = errors.New("the version is too old")

// stream follows from version. Nil means that a new list is needed.
func (e *Engine) stream(ctx context.Context, spec watchSpec, version string) error {
	for ctx.Err() == nil {
		if err := e.reach.Wait(ctx); err != nil {
			return err
		}
		next, err := e.streamOnce(ctx, spec, version)
		switch {
		case errors.Is(err, errExpired), apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			return nil
		case err != nil && !unreachable(err):
			return err
		case next == version && err == nil:
			// Closed without a word: do not ask again at once.
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		version = next
	}
	return ctx.Err()
}

func (e *Engine) streamOnce(ctx context.Context, spec watchSpec, version string) (string, error) {
	timeout := int64(10 * 60)
	options := metav1.ListOptions{
		LabelSelector: spec.labels, FieldSelector: spec.fields, ResourceVersion: version,
		AllowWatchBookmarks: true, TimeoutSeconds: &timeout,
	}
	w, err := e.clients.events(ctx, spec, options)
	if err != nil {
		return version, fmt.Errorf("watch %s: %w", spec.kind.gvr.Resource, err)
	}
	defer w.stop()
	for event, ok := w.next(); ok; event, ok = w.next() {
		if event.Type == watch.Error {
			if err := apierrors.FromObject(event.Object); !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
				return version, fmt.Errorf("watch %s: %w", spec.kind.gvr.Resource, err)
			}
			return version, errExpired
		}
		obj, err := meta.Accessor(event.Object)
		if err != nil {
			return version, fmt.Errorf("watch %s: %w", spec.kind.gvr.Resource, err)
		}
		version = obj.GetResourceVersion()
		if event.Type != watch.Bookmark {
			spec.see(obj, event.Type == watch.Deleted)
		}
	}
	return version, nil
}
