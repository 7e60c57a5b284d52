// Package gateway is the hub's side of the agents' links: it admits a session,
// sends each cluster what differs from what it has, takes its reports and
// opens streams to it. What a cluster should run is the Book's, what is known
// of it the Fleet's, who may connect is internal/trust's.
package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/wire"
)

// DefaultHeartbeat is the period of heartbeats both ways.
const DefaultHeartbeat = 10 * time.Second

// Clusters answers for the Cluster objects.
type Clusters interface {
	// Admit checks that the certificate's cluster exists, is accepted and is
	// the one with that kube-system UID; a refusal is a *Refused.
	Admit(ctx context.Context, cert *x509.Certificate, hello *wire.Hello) (cluster string, accepted string, err error)
	// Recheck asks the same of an open link, and whether the certificate's key
	// is still the one enrolled.
	Recheck(ctx context.Context, cert *x509.Certificate, hello *wire.Hello) error
}

// Contents reads stored content and its secret values.
type Contents interface {
	// Content is the encoded bundle of that digest in a project.
	Content(ctx context.Context, project string, digest desired.Digest) ([]byte, error)
	// Sealed are the secret values the content refers to, sealed to the cluster.
	Sealed(ctx context.Context, project, cluster string, digest desired.Digest) ([]wire.SealedValue, error)
}

// Refused is an answer that ends a link.
type Refused struct{ wire.Refusal }

func (r *Refused) Error() string { return r.Reason + ": " + r.Message }

// Options are everything a Gateway needs.
type Options struct {
	Book     *desired.Book
	Fleet    *observed.Fleet
	Clusters Clusters
	Contents Contents
	// Stamp is this hub's incarnation and term.
	Stamp     wire.Stamp
	Version   string
	Heartbeat time.Duration
	Now       func() time.Time
	Log       *slog.Logger
}

// Gateway serves every agent. It is safe for concurrent use.
type Gateway struct {
	Options

	// mu is held while the Fleet hears of links, so that it hears of them in
	// their order; what the Fleet notifies must not call the Gateway.
	mu    sync.Mutex
	links map[string]*conn
	// standbys are linked beside those, or await their turn alone.
	standbys map[string]*conn
	// opening counts the links of a cluster that are being admitted, expulsions
	// what befell such: a link that was admitted before and registers after is
	// judged again.
	opening    map[string]int
	expulsions uint64
	// refusals say why an agent was last turned away, until it connects.
	refusals map[string]string
	// wishes are the images that clusters' agents should run.
	wishes map[string]wire.Upgrade
}

// New returns a Gateway that refuses nobody by itself.
func New(o Options) *Gateway {
	if o.Heartbeat == 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Gateway{
		Options: o, links: map[string]*conn{}, standbys: map[string]*conn{},
		opening: map[string]int{}, refusals: map[string]string{}, wishes: map[string]wire.Upgrade{},
	}
}

// Serve runs one session to its end. The session is closed when it returns.
func (g *Gateway) Serve(ctx context.Context, s *link.Session) error {
	defer s.Close(nil)
	c, err := g.open(ctx, s)
	if c != nil {
		defer g.close(c)
	}
	if err != nil {
		var refused *Refused
		if errors.As(err, &refused) {
			g.Log.Info("agent refused", "from", s.RemoteAddr(), "reason", refused.Reason, "why", refused.Message)
			return errors.Join(err, s.Refuse(ctx, g.Stamp, refused.Refusal))
		}
		return err
	}
	if c.hello.Standby {
		return c.standBy(ctx)
	}
	return c.run(ctx)
}

const helloTimeout = 10 * time.Second

func (g *Gateway) open(ctx context.Context, s *link.Session) (*conn, error) {
	hello, cancel := context.WithTimeout(ctx, helloTimeout)
	m, err := s.Recv(hello)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("read the agent's hello: %w", err)
	}
	if m.Hello == nil {
		return nil, errors.New("read the agent's hello: the first message is another")
	}
	name := s.Peer().Subject.CommonName
	if err := g.follows(m.Hello); err != nil {
		g.Note(name, err)
		return nil, err
	}
	since := g.arrive(name)
	defer g.leave(name)
	for ; ; since = g.expelled() {
		c, err := g.admit(ctx, s, m.Hello)
		if err != nil {
			return nil, err
		}
		if g.register(c, since) {
			return c, c.welcome(ctx)
		}
	}
}

// follows refuses to lead an agent that has obeyed a later term of this hub's
// history: another leader is at work, or this store is an old copy.
func (g *Gateway) follows(hello *wire.Hello) error {
	if hello.Seen.Incarnation != g.Stamp.Incarnation || hello.Seen.Term <= g.Stamp.Term {
		return nil
	}
	return &Refused{wire.Refusal{Reason: "NotLeader", RetryAfterMillis: (10 * time.Second).Milliseconds(), Message: fmt.Sprintf(
		"the agent has obeyed term %d of this hub, which is at term %d: another hub leads, or this one's store was set back",
		hello.Seen.Term, g.Stamp.Term)}}
}

// admit asks who it is and whether both speak a common version.
func (g *Gateway) admit(ctx context.Context, s *link.Session, hello *wire.Hello) (*conn, error) {
	cluster, accepted, err := g.Clusters.Admit(ctx, s.Peer(), hello)
	if err != nil {
		g.Note(s.Peer().Subject.CommonName, err)
		return nil, err
	}
	version, err := wire.Negotiate(hello.MinVersion, hello.MaxVersion)
	if err != nil {
		g.Note(cluster, err)
		if wish := g.wish(cluster); wish != nil { // too old to be led, and not to be upgraded
			_ = s.Send(ctx, wire.Message{Stamp: g.Stamp, Upgrade: wish}) // the refusal says that it is gone
		}
		return nil, &Refused{wire.Refusal{Reason: "VersionSkew", Message: err.Error(), RetryAfterMillis: time.Hour.Milliseconds()}}
	}
	c := newConn(g, s, cluster, hello)
	c.version, c.accepted = version, accepted
	return c, nil
}

func (g *Gateway) arrive(cluster string) (expulsions uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opening[cluster]++
	return g.expulsions
}

func (g *Gateway) leave(cluster string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opening[cluster]--; g.opening[cluster] == 0 {
		delete(g.opening, cluster)
	}
}

func (g *Gateway) expelled() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.expulsions
}

// register makes c the cluster's link, unless somebody was expelled since it
// was admitted. An older link is closed: an agent that dials again has given
// its old connection up, whatever TCP still believes.
func (g *Gateway) register(c *conn, since uint64) bool {
	g.mu.Lock()
	if g.expulsions != since {
		g.mu.Unlock()
		return false
	}
	seats := g.seats(c)
	old := seats[c.cluster]
	seats[c.cluster] = c
	if !c.hello.Standby {
		delete(g.refusals, c.cluster)
		g.Fleet.Connect(c.cluster, g.Now())
	}
	g.mu.Unlock()
	if old != nil {
		old.session.Close(errReplaced)
	}
	g.Log.Info("agent connected", "cluster", c.cluster, "from", c.session.RemoteAddr(), "version", c.hello.AgentVersion, "standby", c.hello.Standby)
	return true
}

// close lets go of a link. While another agent of the cluster stands by the
// cluster keeps its state: one is about to follow the other, and should it take
// too long, late heartbeats tell.
func (g *Gateway) close(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seats := g.seats(c)
	if seats[c.cluster] != c {
		return
	}
	delete(seats, c.cluster)
	if g.links[c.cluster] == nil && g.standbys[c.cluster] == nil {
		g.Fleet.Disconnect(c.cluster, g.Now())
	}
	g.Log.Info("agent disconnected", "cluster", c.cluster, "standby", c.hello.Standby)
}

// maxRefusals bounds what agents with a valid certificate can make the hub remember.
const maxRefusals = 10_000

// Note keeps why an agent was turned away, by the name in its certificate, for
// those who ask why a cluster does not connect.
func (g *Gateway) Note(cluster string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.refusals[cluster]; known || len(g.refusals) < maxRefusals {
		g.refusals[cluster] = err.Error()
	}
}

// Refusal is why the cluster's agent was last turned away, or "".
func (g *Gateway) Refusal(cluster string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusals[cluster]
}

// Notify wakes the cluster's link after its page of the Book changed.
func (g *Gateway) Notify(cluster string) {
	if c := g.conn(cluster); c != nil {
		c.wake()
	}
}

// Expel closes the cluster's link, for instance after its removal, and lets in
// no other that was admitted before.
func (g *Gateway) Expel(cluster string) {
	g.mu.Lock()
	if g.opening[cluster] > 0 {
		g.expulsions++
	}
	delete(g.refusals, cluster)
	g.mu.Unlock()
	for _, c := range g.conns(cluster) {
		c.session.Close(errExpelled)
	}
}

// Recheck closes the cluster's links unless they would be let in again. What
// cannot be asked now is no reason.
func (g *Gateway) Recheck(ctx context.Context, cluster string) {
	for _, c := range g.conns(cluster) {
		var refused *Refused
		err := g.Clusters.Recheck(ctx, c.session.Peer(), c.hello)
		if errors.As(err, &refused) && refused.Reason != "Busy" {
			g.Note(cluster, err)
			c.session.Close(err)
		}
	}
}

// Accept tells the cluster's agent that a person lets it follow the hub of
// that incarnation. Only a Welcome can say so: the agent is made to dial again.
func (g *Gateway) Accept(cluster, incarnation string) {
	c := g.conn(cluster)
	if c != nil && incarnation == g.Stamp.Incarnation && c.accepted != incarnation {
		c.session.Close(errAccepted)
	}
}

var (
	errReplaced = errors.New("the agent dialled again")
	errExpelled = errors.New("the cluster was removed")
	errAccepted = errors.New("the agent must hear that a person accepted this hub's history")
)

// ErrNotConnected means that no link to the cluster is open.
var ErrNotConnected = errors.New("the cluster's agent is not connected")

// Dial opens a stream to the cluster's agent.
func (g *Gateway) Dial(ctx context.Context, cluster string, h wire.StreamHeader) (net.Conn, error) {
	c := g.conn(cluster)
	if c == nil {
		return nil, fmt.Errorf("reach cluster %s: %w", cluster, ErrNotConnected)
	}
	h.Stamp = g.Stamp
	stream, err := c.session.OpenStream(ctx, h)
	if err != nil {
		return nil, fmt.Errorf("reach cluster %s: %w", cluster, err)
	}
	return stream, nil
}

// Connection is the cluster's state as of now.
func (g *Gateway) Connection(cluster string) v1alpha1.ConnectionState {
	return g.Fleet.Get(cluster).State(g.Now(), g.Heartbeat)
}

// conn is the link of the cluster's agent that acts.
func (g *Gateway) conn(cluster string) *conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.links[cluster]
}
