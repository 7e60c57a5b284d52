package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/wire"
)

// conn is one open session and what was sent over it.
type conn struct {
	gateway *Gateway
	session *link.Session
	cluster string
	hello   *wire.Hello
	version int
	// accepted is the incarnation that a person lets the agent follow.
	accepted string

	// dirty and whole have room for one: many changes make one message.
	dirty, whole chan struct{}
	// wished has room for one too: another image is wished for the agent.
	wished chan struct{}
	// wants are contents the agent asked for and has not got yet.
	wants chan []desired.Digest

	// sent is what the agent has or is being sent; only write touches it.
	sent *desired.Page
}

// maxWants bounds the requests an agent may queue before it reads, maxWanted
// the contents of each.
const (
	maxWants  = 64
	maxWanted = report.MaxStates
)

func newConn(g *Gateway, s *link.Session, cluster string, hello *wire.Hello) *conn {
	return &conn{
		gateway: g, session: s, cluster: cluster, hello: hello,
		dirty: make(chan struct{}, 1),
		whole: make(chan struct{}, 1), wished: make(chan struct{}, 1),
		wants: make(chan []desired.Digest, maxWants),
	}
}

func (c *conn) wake() { signal(c.dirty) }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (c *conn) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, loop := range []func(context.Context) error{c.write, c.serveContents} {
		wg.Go(func() {
			err := loop(ctx)
			cancel(err)
			c.session.Close(err)
		})
	}
	err := c.read(ctx)
	cancel(err)
	c.session.Close(err)
	return context.Cause(ctx)
}

func (c *conn) welcome(ctx context.Context) error {
	return c.send(ctx, wire.Message{Welcome: &wire.Welcome{
		Version:         c.version,
		HeartbeatMillis: c.gateway.Heartbeat.Milliseconds(),
		HubVersion:      c.gateway.Version,
		Now:             c.gateway.Now().UnixMilli(),
		Accepted:        c.accepted,
	}})
}

// write sends deltas when the Book changed, and heartbeats. Until the Book is
// whole these name no digest: the agent must neither wait for a word nor take
// a part for the whole.
func (c *conn) write(ctx context.Context) error {
	tick := time.NewTicker(c.gateway.Heartbeat)
	defer tick.Stop()
	signal(c.wished)
	complete, dirty, whole := c.gateway.Book.Complete(), (<-chan struct{})(nil), (<-chan struct{})(nil)
	var asked wholes
	var rested <-chan time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-complete:
			err = c.begin(ctx)
			complete, dirty, whole = nil, c.dirty, c.whole
		case <-dirty:
			err = c.sendDelta(ctx)
		case <-whole:
			err = c.sendWhole(ctx, c.gateway.Book.Page(c.cluster))
			whole, rested = nil, time.After(asked.pause(time.Now()))
		case <-rested:
			whole, rested = c.whole, nil
		case <-c.wished:
			if wish := c.gateway.wish(c.cluster); wish != nil {
				err = c.send(ctx, wire.Message{Upgrade: wish})
			}
		case <-tick.C:
			err = c.heartbeat(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// wholes paces what an agent asks for because it could not take it: one that is
// older than a field of it cannot take it again, and would ask as fast as it is
// answered.
type wholes struct {
	last time.Time
	wait time.Duration
}

const firstWait, longestWait = 100 * time.Millisecond, time.Minute

// pause is how long the next whole waits after the one of now.
func (w *wholes) pause(now time.Time) time.Duration {
	w.wait = min(max(2*w.wait, firstWait), longestWait)
	if now.Sub(w.last) > 10*w.wait {
		w.wait = firstWait
	}
	w.last = now
	return w.wait
}

// begin says nothing when the agent already has what is wanted.
func (c *conn) begin(ctx context.Context) error {
	page := c.gateway.Book.Page(c.cluster)
	if page.Digest() == c.hello.Desired {
		c.sent = page
		return c.heartbeat(ctx)
	}
	return c.sendWhole(ctx, page)
}

func (c *conn) sendWhole(ctx context.Context, page *desired.Page) error {
	c.sent = page
	return c.send(ctx, wire.Message{Desired: &wire.Desired{Delta: page.Whole()}})
}

func (c *conn) sendDelta(ctx context.Context) error {
	next := c.gateway.Book.Page(c.cluster)
	d := next.From(c.sent)
	if d.Base == d.Target {
		return nil
	}
	brought := c.brought(ctx, d)
	c.sent = next
	return c.send(ctx, wire.Message{Desired: &wire.Desired{Delta: d, Contents: brought}})
}

// maxBrought bounds the contents that come with a change, in bytes, as the API
// bounds what is written inline. maxReading bounds the time that reading them may
// delay it.
const (
	maxBrought = 256 << 10
	maxReading = 200 * time.Millisecond
)

// brought are the small contents that the change needs and the agent has not been
// told of. One that cannot be read now is left out: the agent will ask for it
// and be told why.
func (c *conn) brought(ctx context.Context, d desired.Delta) []*wire.Content {
	ctx, cancel := context.WithTimeout(ctx, maxReading)
	defer cancel()
	var out []*wire.Content
	room := maxBrought
	for _, digest := range (desired.Root{Entries: d.Upserts}).Contents() {
		if _, had := c.sent.Uses(digest); had {
			continue
		}
		data, values, err := c.content(ctx, digest)
		if err != nil {
			continue
		}
		if room -= sizeOf(data, values); room < 0 {
			break
		}
		out = append(out, &wire.Content{Digest: digest, Size: int64(len(data)), Data: data, Values: values})
	}
	return out
}

func sizeOf(data []byte, values []wire.SealedValue) int {
	size := len(data)
	for _, v := range values {
		size += len(v.Ref) + len(v.Sealed)
	}
	return size
}

func (c *conn) heartbeat(ctx context.Context) error {
	return c.send(ctx, wire.Message{Heartbeat: &wire.Heartbeat{
		Desired:  c.sentDigest(),
		Reported: c.gateway.Fleet.Digest(c.cluster),
		At:       c.gateway.Now().UnixMilli(),
	}})
}

// sentDigest is none before anything was sent.
func (c *conn) sentDigest() desired.Digest {
	if c.sent == nil {
		return ""
	}
	return c.sent.Digest()
}

func (c *conn) send(ctx context.Context, m wire.Message) error {
	m.Stamp = c.gateway.Stamp
	if err := c.session.Send(ctx, m); err != nil {
		return fmt.Errorf("send to cluster %s: %w", c.cluster, err)
	}
	return nil
}

// read takes what the agent says until the link ends.
func (c *conn) read(ctx context.Context) error {
	for {
		m, err := c.session.Recv(ctx)
		if err != nil {
			return err
		}
		if err := c.handle(ctx, m); err != nil {
			return fmt.Errorf("cluster %s: %w", c.cluster, err)
		}
	}
}

func (c *conn) handle(ctx context.Context, m wire.Message) error {
	g := c.gateway
	now := g.Now()
	switch {
	case m.Heartbeat != nil:
		g.Fleet.Heard(c.cluster, now, m.Heartbeat.Desired, time.UnixMilli(m.Heartbeat.At).Sub(now))
		if m.Heartbeat.Reported != g.Fleet.Digest(c.cluster) {
			return c.send(ctx, wire.Message{Resend: &wire.Resend{Report: true}})
		}
	case m.Report != nil:
		if err := m.Report.Report.Check(); err != nil {
			return err
		}
		if !g.Fleet.Report(c.cluster, m.Report.Report, now) {
			return c.send(ctx, wire.Message{Resend: &wire.Resend{Report: true}})
		}
	case m.Want != nil:
		if len(m.Want.Contents) > maxWanted {
			return errors.New("the agent asks for more contents than a cluster can have")
		}
		select {
		case c.wants <- m.Want.Contents:
		default:
			return errors.New("the agent asks for more content than it reads")
		}
	case m.Resend != nil && m.Resend.Desired:
		signal(c.whole)
	}
	return nil
}

// serveContents answers wants apart from the deltas, so that a large content
// never delays a change.
func (c *conn) serveContents(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case digests := <-c.wants:
			for _, d := range digests {
				if err := c.sendContent(ctx, d); err != nil {
					return err
				}
			}
		}
	}
}

func (c *conn) sendContent(ctx context.Context, digest desired.Digest) error {
	data, values, err := c.content(ctx, digest)
	if err != nil {
		return c.send(ctx, wire.Message{Content: &wire.Content{Digest: digest, Missing: err.Error()}})
	}
	for _, piece := range pieces(digest, data, values) {
		if err := c.send(ctx, wire.Message{Content: piece}); err != nil {
			return err
		}
	}
	return nil
}

// content is one that the cluster's desired state refers to, with its secret
// values; the error is for the agent to read.
func (c *conn) content(ctx context.Context, digest desired.Digest) ([]byte, []wire.SealedValue, error) {
	project, ok := c.gateway.Book.Page(c.cluster).Uses(digest)
	if !ok {
		return nil, nil, errors.New("this cluster's desired state does not refer to it")
	}
	data, err := c.gateway.Contents.Content(ctx, project, digest)
	if err != nil {
		c.gateway.Log.Error("content cannot be delivered", "cluster", c.cluster, "digest", digest, "err", err)
		return nil, nil, errors.New("the hub cannot read it; see the hub's log")
	}
	values, err := c.gateway.Contents.Sealed(ctx, project, c.cluster, digest)
	if err != nil {
		c.gateway.Log.Error("secret values cannot be delivered", "cluster", c.cluster, "digest", digest, "err", err)
		return nil, nil, errors.New("the hub cannot read its secret values; see the hub's log")
	}
	return data, values, nil
}

// pieces cuts a content into what frames take: its values first, for what ends
// it is the last byte of data.
func pieces(digest desired.Digest, data []byte, values []wire.SealedValue) []*wire.Content {
	var out []*wire.Content
	next := func(offset int) *wire.Content {
		piece := &wire.Content{Digest: digest, Size: int64(len(data)), Offset: int64(offset)}
		out = append(out, piece)
		return piece
	}
	room := 0
	for _, v := range values {
		if room -= len(v.Ref) + len(v.Sealed); room < 0 {
			next(0)
			room = wire.MaxPiece - len(v.Ref) - len(v.Sealed)
		}
		piece := out[len(out)-1]
		piece.Values = append(piece.Values, v)
	}
	offset := 0
	for chunk := range slices.Chunk(data, wire.MaxPiece) {
		next(offset).Data = chunk
		offset += len(chunk)
	}
	return out
}
