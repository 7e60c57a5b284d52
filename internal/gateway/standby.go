package gateway

import (
	"context"
	"time"
)

// seats are where the link belongs; g.mu is held.
func (g *Gateway) seats(c *conn) map[string]*conn {
	if c.hello.Standby {
		return g.standbys
	}
	return g.links
}

// conns are the links of the agent that acts and of the one that stands by.
func (g *Gateway) conns(cluster string) []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []*conn
	for _, seats := range []map[string]*conn{g.links, g.standbys} {
		if c := seats[cluster]; c != nil {
			out = append(out, c)
		}
	}
	return out
}

// standBy exchanges heartbeats with an agent that does not act: what it says
// is not the cluster's word, so nothing of it is entered.
func (c *conn) standBy(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	beats := make(chan error, 1)
	go func() {
		err := c.beat(ctx)
		c.session.Close(err)
		beats <- err
	}()
	for {
		if _, err := c.session.Recv(ctx); err != nil {
			cancel(err)
			<-beats
			return err
		}
	}
}

func (c *conn) beat(ctx context.Context) error {
	tick := time.NewTicker(c.gateway.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := c.heartbeat(ctx); err != nil {
				return err
			}
		}
	}
}
