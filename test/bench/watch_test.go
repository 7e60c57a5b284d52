package bench_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// sight is one event of a watch.
type sight struct {
	place  int // the member's index
	name   string
	change int // of the annotation; -1 when somebody else set it
	kind   watch.EventType
	at     time.Time
}

// sights follow the Deployments of a namespace on all members. Both sides are
// watched in the same way, by metadata.
type sights struct {
	b        *bed
	stop     context.CancelFunc
	done     sync.WaitGroup
	mu       sync.Mutex
	present  []map[string]int // by place: name → change
	observer func(sight)
	moved    chan struct{}
}

// watch begins at the present state.
func (b *bed) watch(namespace string) *sights {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	s := &sights{b: b, stop: stop, moved: make(chan struct{}, 1)}
	for place, m := range b.members {
		s.present = append(s.present, map[string]int{})
		w, err := m.metadata.Resource(deployments).Namespace(namespace).Watch(ctx, metav1.ListOptions{})
		b.must(err)
		s.done.Go(func() { s.follow(ctx, w, place) })
	}
	return s
}

func (s *sights) follow(ctx context.Context, w watch.Interface, place int) {
	defer w.Stop()
	for event := range w.ResultChan() {
		at := time.Now()
		if ctx.Err() != nil {
			return // what comes now tells only that
		}
		object, err := meta.Accessor(event.Object)
		if err != nil || event.Type == watch.Error {
			s.b.t.Errorf("the watch of %s: %v %+v", s.b.members[place].Name, err, event.Object)
			return
		}
		change, err := strconv.Atoi(object.GetAnnotations()[changeKey])
		if err != nil {
			change = -1
		}
		s.take(sight{place: place, name: object.GetName(), change: change, kind: event.Type, at: at})
	}
	if ctx.Err() == nil {
		s.b.t.Errorf("the watch of %s ended", s.b.members[place].Name)
	}
}

func (s *sights) take(e sight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.kind == watch.Deleted {
		delete(s.present[e.place], e.name)
	} else {
		s.present[e.place][e.name] = e.change
	}
	if s.observer != nil {
		s.observer(e)
	}
	select {
	case s.moved <- struct{}{}:
	default:
	}
}

// observe has each further event handed on, one at a time.
func (s *sights) observe(f func(sight)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observer = f
}

// everywhere says whether each member has n objects of that prefix, at this change or later.
func (s *sights) everywhere(prefix string, n, change int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, names := range s.present {
		have := 0
		for name, c := range names {
			if strings.HasPrefix(name, prefix) && c >= change {
				have++
			}
		}
		if have < n {
			return false
		}
	}
	return true
}

// await asks after every event until it is so.
func (s *sights) await(ok func(*sights) bool) {
	s.b.t.Helper()
	limit := time.After(patience)
	for !ok(s) {
		select {
		case <-s.moved:
		case <-limit:
			s.b.t.Fatal("it does not come to pass")
		}
	}
}

func (s *sights) end() {
	s.stop()
	s.done.Wait()
}
