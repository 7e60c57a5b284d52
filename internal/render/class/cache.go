package class

import (
	"container/list"
	"sync"
)

// Cache keeps the renders of inputs, each class once. It is safe for
// concurrent use; one input is rendered by one caller at a time, so that two
// hundred clusters of one class that arrive together are one render.
type Cache[T any] struct {
	limit int

	mu     sync.Mutex
	inputs map[string]*list.Element // of *input[T]
	recent *list.List               // the last used in front
	stats  Stats
}

// Stats counts what a cache did.
type Stats struct {
	// Renders were made; Reused were answered without one.
	Renders, Reused int
}

type input[T any] struct {
	name    string
	mu      sync.Mutex
	classes []known[T]
}

type known[T any] struct {
	queries []Query
	value   T
}

// NewCache keeps the classes of at most limit inputs, those used last.
func NewCache[T any](limit int) *Cache[T] {
	return &Cache[T]{limit: limit, inputs: map[string]*list.Element{}, recent: list.New()}
}

// Get is the render of an input for a cluster: a known one whose questions the
// cluster answers alike, or the one that render makes. inputs must name
// everything that render reads beside the capabilities. An error is not kept.
func (c *Cache[T]) Get(inputs string, of Capabilities, render func() (T, []Query, error)) (T, error) {
	in := c.input(inputs)
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, k := range in.classes {
		if Matches(k.queries, of) {
			c.count(0, 1)
			return k.value, nil
		}
	}
	c.count(1, 0)
	value, queries, err := render()
	if err != nil {
		return value, err
	}
	in.classes = append(in.classes, known[T]{queries, value})
	return value, nil
}

func (c *Cache[T]) input(name string) *input[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.inputs[name]; e != nil {
		c.recent.MoveToFront(e)
		return e.Value.(*input[T])
	}
	in := &input[T]{name: name}
	c.inputs[name] = c.recent.PushFront(in)
	for c.recent.Len() > c.limit {
		last := c.recent.Remove(c.recent.Back()).(*input[T])
		delete(c.inputs, last.name)
	}
	return in
}

func (c *Cache[T]) count(renders, reused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Renders += renders
	c.stats.Reused += reused
}

// Stats is what the cache did so far.
func (c *Cache[T]) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}
