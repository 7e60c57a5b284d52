package bench_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// sight is one event of a watch.
type sight struct {
	place  int // the member's index
	name   string
	change int
	kind   watch.EventType
	at     time.Time
}

// sights follow the Deployments of a namespace on all members, or other kinds
// whose objects have no name in common. Both sides are watched in the same way,
// by metadata.
type sights struct {
	b        *bed
	stop     context.CancelFunc
	done     sync.WaitGroup
	mu       sync.Mutex
	present  []map[string]int // by place: name → change
	moved    time.Time        // when an object last came or showed another change
	observer func(sight)
}

// watch begins at the present state, and goes on where it was when a server
// that is under load ends it.
func (b *bed) watch(namespace string, kinds ...schema.GroupVersionResource) *sights {
	b.t.Helper()
	if len(kinds) == 0 {
		kinds = []schema.GroupVersionResource{deployments}
	}
	ctx, stop := context.WithCancel(b.t.Context())
	s := &sights{b: b, stop: stop}
	for range b.members {
		s.present = append(s.present, map[string]int{})
	}
	for place, m := range b.members {
		for _, kind := range kinds {
			s.begin(ctx, place, m.metadata.Resource(kind).Namespace(namespace))
		}
	}
	return s
}

func (s *sights) begin(ctx context.Context, place int, all metadata.ResourceInterface) {
	s.b.t.Helper()
	list, err := all.List(ctx, metav1.ListOptions{})
	s.b.must(err)
	s.mu.Lock()
	for i := range list.Items {
		s.present[place][list.Items[i].Name] = changeOf(&list.Items[i])
	}
	s.mu.Unlock()
	w, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return all.Watch(ctx, o) },
	})
	s.b.must(err)
	s.done.Go(func() { s.follow(ctx, w, place) })
}

// changeOf reads the annotation; -1 when somebody else set it.
func changeOf(object metav1.Object) int {
	change, err := strconv.Atoi(object.GetAnnotations()[changeKey])
	if err != nil {
		return -1
	}
	return change
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
		s.take(sight{place: place, name: object.GetName(), change: changeOf(object), kind: event.Type, at: at})
	}
	if ctx.Err() == nil {
		s.b.t.Errorf("the watch of %s ended", s.b.members[place].Name)
	}
}

func (s *sights) take(e sight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.present[e.place]
	if e.kind == watch.Deleted {
		delete(names, e.name)
	} else {
		if before, was := names[e.name]; !was || before != e.change {
			s.moved = e.at
		}
		names[e.name] = e.change
	}
	if s.observer != nil {
		s.observer(e)
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

// await asks now and then, not after every event: counting must cost little
// beside what is measured. It returns when the last object came or changed.
func (s *sights) await(ok func(*sights) bool) time.Time {
	s.b.t.Helper()
	for limit := time.Now().Add(patience); !ok(s); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			s.b.t.Fatal("it does not come to pass")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moved
}

func (s *sights) end() {
	s.stop()
	s.done.Wait()
}
