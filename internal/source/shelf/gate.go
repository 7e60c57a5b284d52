package shelf

import (
	"cmp"
	"context"
)

// Gate is a lock, made with room for one, that ends waiting with a context.
type Gate chan struct{}

// Lock waits for its turn; an error is that of ctx.
func (g Gate) Lock(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return cmp.Or(context.Cause(ctx), ctx.Err())
	}
}

// Unlock lets the next one in.
func (g Gate) Unlock() { <-g }
