package shelf

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Answers are what servers said, in memory. They are safe for concurrent use.
type Answers[T any] struct {
	limit int64
	now   func() time.Time

	mu    sync.Mutex
	known map[string]*answer[T]
}

type answer[T any] struct {
	asking Gate
	value  T
	err    error
	at     time.Time // when it was asked; zero when it never was

	// The Answers' own.
	weight int64
	used   time.Time
	users  int
}

// maxAnswers are remembered at most, whatever they weigh.
const maxAnswers = 2000

// NewAnswers are of at most limit bytes together, as those who ask count them.
func NewAnswers[T any](limit int64, now func() time.Time) *Answers[T] {
	return &Answers[T]{limit: limit, now: now, known: map[string]*answer[T]{}}
}

// Ask is what was said since then, or what ask brings. It gets the answer
// before, if that is known, and says how many bytes the new one weighs. Whoever
// asks for the same meanwhile waits for it and shares it; so they do an error.
func (a *Answers[T]) Ask(ctx context.Context, key string, since time.Time, ask func(ctx context.Context, before T) (T, int64, error)) (T, error) {
	one := a.take(key)
	defer a.leave(one)
	var none T
	if err := one.asking.Lock(ctx); err != nil {
		return none, err
	}
	defer one.asking.Unlock()
	if !one.at.IsZero() && !one.at.Before(since) {
		return one.value, one.err
	}
	began := a.now()
	value, weight, err := ask(ctx, one.value)
	switch {
	case err == nil:
		one.value, one.err, one.at = value, nil, began
		a.weigh(one, weight)
	case context.Cause(ctx) == nil:
		one.err, one.at = err, began // the value before is of use to who asks next
	}
	if err != nil {
		return none, err
	}
	return value, nil
}

func (a *Answers[T]) take(key string) *answer[T] {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.known[key]
	if one == nil {
		one = &answer[T]{asking: make(Gate, 1)}
		a.known[key] = one
	}
	one.used, one.users = a.now(), one.users+1
	return one
}

func (a *Answers[T]) weigh(one *answer[T], weight int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one.weight = weight
}

// leave forgets what was not asked for the longest, if it is too much.
func (a *Answers[T]) leave(one *answer[T]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one.users--
	var total int64
	for _, other := range a.known {
		total += other.weight
	}
	if total <= a.limit && len(a.known) <= maxAnswers {
		return
	}
	for _, key := range slices.SortedFunc(maps.Keys(a.known), func(x, y string) int { return a.known[x].used.Compare(a.known[y].used) }) {
		if total <= a.limit && len(a.known) <= maxAnswers {
			return
		}
		if other := a.known[key]; other.users == 0 {
			total -= other.weight
			delete(a.known, key)
		}
	}
}
