package notify_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/notify"
)

// A receiver that fails at random, for one subject or for all, is told of each
// subject in order, of everything that was not dropped at least once, and last of
// what became last.
func TestAQueueKeepsOrderAndTheLastWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(8, 16).Draw(t, "limit") // 4 subjects, each with one that is under way
		q, now := notify.NewQueue(limit), noon
		last, told, busy := map[notify.Subject]int{}, map[notify.Subject][]int{}, map[notify.Subject]notify.Event{}
		pushed, delivered := 0, 0
		push := func(t *rapid.T) {
			s := notify.Subject{Cluster: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "subject")}
			for range rapid.SampledFrom([]int{1, 1, 2, 20}).Draw(t, "times") {
				pushed++
				last[s] = pushed
				q.Push(notify.Event{Subject: s, Type: notify.Connected, Key: strconv.Itoa(pushed), Latest: now})
			}
		}
		next := func(t *rapid.T) {
			e, ok, _ := q.Next(now)
			if !ok {
				return
			}
			if _, twice := busy[e.Subject]; twice {
				t.Fatalf("%s is told of two events at once", e.Subject)
			}
			busy[e.Subject] = e
		}
		end := func(t *rapid.T, how string) {
			for s, e := range busy {
				delete(busy, s)
				switch how {
				case "done":
					n, _ := strconv.Atoi(e.Key)
					told[s] = append(told[s], n)
					delivered++
					q.Done(s, true)
				case "refused":
					if n, _ := strconv.Atoi(e.Key); n == last[s] {
						last[s] = 0 // nothing later will say so
					}
					q.Done(s, false)
				default:
					q.Failed(s, now, how == "away", func(n int) time.Duration { return time.Duration(n+1) * time.Second })
				}
				return
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push":    push,
			"next":    next,
			"done":    func(t *rapid.T) { end(t, "done") },
			"refused": func(t *rapid.T) { end(t, "refused") },
			"failed":  func(t *rapid.T) { end(t, "failed") },
			"away":    func(t *rapid.T) { end(t, "away") },
			"wait":    func(t *rapid.T) { now = now.Add(time.Second) },
			"": func(t *rapid.T) {
				if q.Len() > limit {
					t.Fatalf("%d wait, and at most %d may", q.Len(), limit)
				}
				if int64(q.Len())+q.Dropped()+int64(delivered) != int64(pushed) {
					t.Fatalf("of %d, %d wait, %d were dropped and %d delivered", pushed, q.Len(), q.Dropped(), delivered)
				}
			},
		})
		for q.Len() > 0 {
			for {
				e, ok, again := q.Next(now)
				if ok {
					busy[e.Subject] = e
					continue
				}
				if again.After(now) && len(busy) == 0 {
					now = again
				}
				break
			}
			end(t, "done")
		}
		for s, n := range last {
			if !slices.IsSorted(told[s]) {
				t.Fatalf("%s was told of %v", s, told[s])
			}
			if n != 0 && !slices.Contains(told[s], n) {
				t.Fatalf("%s was last told of %v, and %d became last", s, told[s], n)
			}
		}
		if until := q.ToldUntil(now); until != now {
			t.Fatalf("all is told until %s, not %s", until, now)
		}
	})
}

// A receiver that breaks on one event seems away whenever it is told of that.
func TestAnEventThatAReceiverBreaksOnKeepsNoOtherSubjectBack(t *testing.T) {
	q, now := notify.NewQueue(10), noon
	for _, s := range []string{"poison", "a", "b", "poison"} {
		q.Push(notify.Event{Type: notify.Connected, Subject: notify.Subject{Cluster: s}, Latest: now})
	}
	var told []string
	for range 6 {
		e, ok, again := q.Next(now)
		switch {
		case !ok:
			now = again
		case e.Subject.Cluster == "poison":
			q.Failed(e.Subject, now, true, func(int) time.Duration { return time.Second })
		default:
			told = append(told, e.Subject.Cluster)
			q.Done(e.Subject, true)
		}
	}
	if !slices.Equal(told, []string{"a", "b"}) || q.Len() != 2 {
		t.Errorf("told of %q, and %d wait", told, q.Len())
	}
}

func TestOfOneCommitOnlyTheNewestStateWaits(t *testing.T) {
	q := notify.NewQueue(10)
	push := func(sha string, state notify.CommitState) {
		q.Push(notify.Event{Type: notify.Commit, Subject: notify.Subject{Project: "p", Application: "a"}, Latest: noon, Report: &notify.CommitReport{SHA: sha, State: state}})
	}
	push("1", notify.CommitPending)
	push("1", notify.CommitFailure)
	push("1", notify.CommitSuccess)
	push("2", notify.CommitPending)
	var got []string
	for {
		e, ok, _ := q.Next(noon)
		if !ok {
			break
		}
		got = append(got, fmt.Sprint(e.Report.SHA, " ", e.Report.State))
		q.Done(e.Subject, true)
	}
	if !slices.Equal(got, []string{"1 success", "2 pending"}) {
		t.Errorf("told %q", got)
	}
}
