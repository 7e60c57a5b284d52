package application

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/types"
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

func TestAWriteThatIsWaitedForTakesThePlaceOfWhatWaits(t *testing.T) {
	var b besides
	name := types.NamespacedName{Name: "shop"}
	first, begun := make(chan struct{}), make(chan struct{})
	b.put(name, func() error { close(begun); <-first; return nil }, nil)
	<-begun
	b.put(name, func() error { t.Error("what is overtaken was written"); return nil }, nil)
	var wg sync.WaitGroup
	wg.Go(func() { b.settled(name) })
	for left := true; left; {
		b.mu.Lock()
		left = b.due[name].next != nil
		b.mu.Unlock()
	}
	close(first)
	wg.Wait()
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
