package apply

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

func object1(name string) task { return task{object: ID{Kind: "ConfigMap", Name: name}} }

func TestUrgentTasksGoFirstAndEachOnce(t *testing.T) {
	q := newQueue()
	q.Add(object1("a"), ordinary)
	q.Add(object1("b"), ordinary)
	q.Add(object1("c"), urgent)
	q.Add(object1("b"), urgent) // it has become urgent
	q.Add(object1("a"), ordinary)
	var got []string
	for range 3 {
		next, ok := q.Get(t.Context())
		if !ok {
			t.Fatal("no task")
		}
		got = append(got, next.object.Name)
		q.Done(next)
	}
	if fmt.Sprint(got) != "[c b a]" {
		t.Errorf("order %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := q.Get(ctx); ok {
		t.Error("a task was handed out twice")
	}
}

func TestATaskNeverRunsTwiceAtOnceAndNoneIsLost(t *testing.T) {
	q := newQueue()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	running, added, seen := map[task]bool{}, map[task]int{}, map[task]int{}
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for {
				next, ok := q.Get(ctx)
				if !ok {
					return
				}
				mu.Lock()
				if running[next] {
					t.Errorf("%v runs twice", next)
				}
				running[next] = true
				seen[next] = added[next]
				mu.Unlock()
				mu.Lock()
				running[next] = false
				mu.Unlock()
				q.Done(next)
			}
		})
	}
	for i := range 5000 {
		next := object1(fmt.Sprint(i % 7))
		mu.Lock()
		added[next]++
		mu.Unlock()
		q.Add(next, priority(i%2))
	}
	deadline := time.Now().Add(patience)
	for done := false; !done && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		mu.Lock()
		done = true
		for k, n := range added {
			done = done && seen[k] == n
		}
		mu.Unlock()
	}
	cancel()
	workers.Wait()
	for k, n := range added {
		if seen[k] != n {
			t.Errorf("%v: the last addition was not seen (%d of %d)", k, seen[k], n)
		}
	}
}

func TestTheEarlierOfTwoDelaysCounts(t *testing.T) {
	q := newQueue()
	q.AddAfter(object1("a"), ordinary, time.Hour)
	q.AddAfter(object1("a"), ordinary, time.Millisecond)
	q.AddAfter(object1("a"), ordinary, time.Hour)
	if next, ok := q.Get(t.Context()); !ok || next.object.Name != "a" {
		t.Error("the task never became due")
	}
	q.Close()
}
