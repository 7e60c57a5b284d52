package notify

import (
	"slices"
	"time"
)

// Queue is what one receiver has not taken yet. Of one subject the events are
// handed out in their order, each until it is done with; what must wait keeps no
// other subject back. Beyond its limit, and of commits always, what a later event
// of the subject has overtaken goes first, so that the last word is the last to
// be lost. It is used by one goroutine at a time.
type Queue struct {
	limit   int
	waiting []Event
	retry   map[Subject]retry
	busy    map[Subject]bool
	dropped int64
	// pause is until when nothing is handed out: the receiver is away.
	pause    time.Time
	failures int
}

type retry struct {
	failures int
	at       time.Time
}

// NewQueue holds at most limit events, with those that are being delivered.
func NewQueue(limit int) *Queue {
	return &Queue{limit: limit, retry: map[Subject]retry{}, busy: map[Subject]bool{}}
}

// Push adds an event.
func (q *Queue) Push(e Event) {
	q.waiting = append(q.waiting, e)
	if e.Type == Commit {
		q.overtake(e.Subject)
	}
	for len(q.waiting) > q.limit {
		q.drop(q.oldest())
	}
}

// overtake leaves of what waits to be told of a commit the newest.
func (q *Queue) overtake(s Subject) {
	last := len(q.waiting) - 1
	sha := q.waiting[last].Report.SHA
	for i := last - 1; i >= 0; i-- {
		if e := q.waiting[i]; e.Subject == s && e.Report.SHA == sha && !q.delivering(i) {
			q.waiting = slices.Delete(q.waiting, i, i+1)
		}
	}
}

// oldest is that of which the subject has a later one, else of all.
func (q *Queue) oldest() int {
	left, out := map[Subject]int{}, map[Subject]bool{}
	for _, e := range q.waiting {
		left[e.Subject]++
	}
	first := -1
	for i, e := range q.waiting {
		if q.busy[e.Subject] && !out[e.Subject] { // it is being delivered
			out[e.Subject] = true
			left[e.Subject]--
			continue
		}
		if left[e.Subject] > 1 {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

// delivering tells that the event was handed out: it is the first of a busy
// subject.
func (q *Queue) delivering(i int) bool {
	s := q.waiting[i].Subject
	return q.busy[s] && q.first(s) == i
}

func (q *Queue) first(s Subject) int {
	return slices.IndexFunc(q.waiting, func(e Event) bool { return e.Subject == s })
}

func (q *Queue) drop(i int) {
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.dropped++
}

// Next hands out an event, or tells at what time to ask again; neither while
// only what is being delivered is left.
func (q *Queue) Next(now time.Time) (e Event, ok bool, again time.Time) {
	if len(q.waiting) > len(q.busy) && now.Before(q.pause) {
		return Event{}, false, q.pause
	}
	passed := map[Subject]bool{}
	for _, e := range q.waiting {
		if passed[e.Subject] || q.busy[e.Subject] {
			continue
		}
		passed[e.Subject] = true
		at := q.retry[e.Subject].at
		if !now.Before(at) {
			q.busy[e.Subject] = true
			return e, true, time.Time{}
		}
		if again.IsZero() || at.Before(again) {
			again = at
		}
	}
	return Event{}, false, again
}

// Done ends what was handed out of a subject: it was taken, or never will be.
func (q *Queue) Done(s Subject, taken bool) {
	i := q.first(s)
	delete(q.busy, s)
	delete(q.retry, s)
	if i < 0 {
		return
	}
	if !taken {
		q.drop(i)
		return
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.failures, q.pause = 0, time.Time{}
}

// Failed has what was handed out handed out again; away says that it is not for
// this subject but for the receiver, of which the others are tried first then. wait is
// how long after how many failures.
func (q *Queue) Failed(s Subject, now time.Time, away bool, wait func(failures int) time.Duration) {
	delete(q.busy, s)
	if away {
		q.pause = now.Add(wait(q.failures))
		q.failures++
		q.last(s)
		return
	}
	r := q.retry[s]
	r.at = now.Add(wait(r.failures))
	r.failures++
	q.retry[s] = r
}

// last puts a subject behind all others: a receiver may seem away because of the
// one event that it was just told of, and must not be kept from the rest by it.
func (q *Queue) last(s Subject) {
	var others, its []Event
	for _, e := range q.waiting {
		if e.Subject == s {
			its = append(its, e)
		} else {
			others = append(others, e)
		}
	}
	q.waiting = append(others, its...)
}

// Retry has all that waits handed out at once: whatever kept it was changed.
func (q *Queue) Retry() { q.pause, q.retry = time.Time{}, map[Subject]retry{} }

// Len is how many were not taken yet, Dropped how many never will be.
func (q *Queue) Len() int { return len(q.waiting) }

// Dropped counts what was given up.
func (q *Queue) Dropped() int64 { return q.dropped }

// ToldUntil is the time until which all was told, at most now.
func (q *Queue) ToldUntil(now time.Time) time.Time {
	for _, e := range q.waiting {
		if e.Latest.Before(now) {
			now = e.Latest
		}
	}
	return now
}
