package application

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
)

func TestRecordsOfAnApplicationAreWrittenOneAfterTheOther(t *testing.T) {
	var b besides
	var wg sync.WaitGroup
	for app := range 4 {
		wg.Go(func() {
			name := types.NamespacedName{Name: string(rune('a' + app))}
			var own atomic.Int32
			last := make(chan struct{})
			for n := range 201 {
				taken := b.put(name, func() error {
					if own.Add(1) > 1 {
						t.Error("two records of one application at once")
					}
					own.Add(-1)
					if n == 200 {
						close(last)
					}
					return nil
				}, func(types.NamespacedName) { t.Error("none has failed") })
				if !taken {
					t.Errorf("no room for %d", n)
				}
			}
			<-last
			b.settled(name)
		})
	}
	wg.Wait()
	if n := b.count(); n != 0 {
		t.Errorf("%d are under way", n)
	}
}

func TestOfWhatWaitsForItsTurnOnlyTheLastIsWritten(t *testing.T) {
	var b besides
	name := types.NamespacedName{Name: "shop"}
	first, begun, written := make(chan struct{}), make(chan struct{}), make(chan int, 4)
	b.put(name, func() error { close(begun); <-first; written <- 1; return nil }, nil)
	<-begun
	b.put(name, func() error { written <- 2; return nil }, nil)
	done := make(chan struct{})
	b.put(name, func() error { written <- 3; close(done); return nil }, nil)
	close(first)
	<-done
	b.settled(name)
	if a, c := <-written, <-written; a != 1 || c != 3 || len(written) > 0 {
		t.Errorf("written were %d, %d and %d more", a, c, len(written))
	}
}

func TestAWriteThatIsWaitedForComesAfterWhatWaits(t *testing.T) {
	var b besides
	name := types.NamespacedName{Name: "shop"}
	first, begun, written := make(chan struct{}), make(chan struct{}), make(chan int, 4)
	b.put(name, func() error { close(begun); <-first; written <- 1; return nil }, nil)
	<-begun
	b.put(name, func() error { written <- 2; return nil }, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		b.settled(name)
		if len(written) != 2 {
			t.Errorf("settled after %d of 2", len(written))
		}
	})
	close(first)
	wg.Wait()
}

// lending is a depot whose content is stored once it may be.
type lending struct {
	Depot
	may chan error
}

func (l lending) Settle(context.Context, *v1alpha1.Application) error { return nil }

func (l lending) Lent(*v1alpha1.Application) func(context.Context) error {
	return func(context.Context) error { return <-l.may }
}

// written is a store that keeps what a status names, and a cache that shows none of it.
type written struct {
	nothing
	revisions chan string
}

func (w written) Status() client.SubResourceWriter {
	return statusWriter{revisions: w.revisions}
}

func (w written) Create(context.Context, client.Object, ...client.CreateOption) error { return nil }

type statusWriter struct {
	client.SubResourceWriter
	revisions chan string
}

func (w statusWriter) Apply(_ context.Context, o runtime.ApplyConfiguration, _ ...client.SubResourceApplyOption) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	var app v1alpha1.Application
	if err := json.Unmarshal(data, &app); err != nil {
		return err
	}
	w.revisions <- app.Status.Revision
	return nil
}

// TestWhatIsRecordedBesideIsNotTakenBack by a look whose cache does not show it yet:
// a freeze, or a source that is refused, leaves the revision as it is.
func TestWhatIsRecordedBesideIsNotTakenBack(t *testing.T) {
	for name, tt := range map[string]struct {
		stored error
		want   []string
	}{
		"while it is written": {nil, []string{"two", "two"}},
		"and it failed":       {errors.New("no space left"), []string{"one"}},
	} {
		t.Run(name, func(t *testing.T) {
			may, revisions := make(chan error, 1), make(chan string, 4)
			r := &Intent{Client: written{revisions: revisions}, Depot: lending{may: may}, Events: events.NewFakeRecorder(10), Again: func(types.NamespacedName) {}}
			digest := func(n string) desired.Digest { return desired.Sum([]byte(n)) }
			app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop", UID: "u"}}
			app.Status.Revision = desired.RevisionName("shop", digest("one"))
			good := assign.Condition{True: true, Reason: "Accepted"}
			if !r.recordBeside(t.Context(), app, course{plan: assign.Plan{Accepted: good}, admitted: depot.Content{Digest: digest("two")}}) {
				t.Fatal("it is not recorded beside")
			}
			may <- tt.stored
			refused := course{plan: assign.Plan{Accepted: assign.Condition{Reason: "SourceRefused"}}}
			if err := r.record(t.Context(), app, refused); err != nil {
				t.Fatal(err)
			}
			close(revisions)
			i := 0
			for got := range revisions {
				if i == len(tt.want) || got != desired.RevisionName("shop", digest(tt.want[i])) {
					t.Errorf("write %d names %s, want %v", i, got, tt.want)
				}
				i++
			}
			if i != len(tt.want) {
				t.Errorf("%d writes", i)
			}
		})
	}
}

func TestAnApplicationIsAheadOfTheCacheUntilThatShowsIt(t *testing.T) {
	var b besides
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop", UID: "u"}}
	app.Status.Revision = "one"
	b.says(client.ObjectKeyFromObject(app), told{"u", "two"})
	if got := b.ahead(app); got.Status.Revision != "two" || app.Status.Revision != "one" {
		t.Errorf("%s, and in the cache %s", got.Status.Revision, app.Status.Revision)
	}
	shown := app.DeepCopy()
	shown.Status.Revision = "two"
	if b.ahead(shown) != shown || b.ahead(app) != app || len(b.told) != 0 {
		t.Error("it is remembered after the cache has shown it")
	}
	b.says(client.ObjectKeyFromObject(app), told{"of another of that name", "two"})
	if b.ahead(app) != app {
		t.Error("an application inherits the revision of another")
	}
}

func TestAfterAFailureTheNextRecordIsWaitedFor(t *testing.T) {
	var b besides
	name, again := types.NamespacedName{Name: "shop"}, make(chan types.NamespacedName, 1)
	look := func(n types.NamespacedName) { again <- n }
	if !b.put(name, func() error { return errors.New("no space left") }, look) || <-again != name {
		t.Fatal("nobody was told of the failure")
	}
	if b.put(name, func() error { return nil }, look) {
		t.Error("it is written beside once more")
	}
	b.mended(name)
	if !b.put(name, func() error { return nil }, look) {
		t.Error("it was mended")
	}
}

func TestAStoreThatCannotKeepUpSlowsTheLooksDown(t *testing.T) {
	var b besides
	full := make(chan struct{})
	name := func(n int) types.NamespacedName { return types.NamespacedName{Name: string(rune(n + 'A'))} }
	for n := range maxBeside {
		if !b.put(name(n), func() error { <-full; return nil }, nil) {
			t.Fatalf("no room for %d", n)
		}
	}
	if b.put(name(maxBeside), func() error { return nil }, nil) {
		t.Error("one more was taken")
	}
	close(full)
	for n := range maxBeside {
		b.settled(name(n))
	}
}
