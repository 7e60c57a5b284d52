package simulate

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"
)

// lightAtOnce is how many light agents join at a time.
const lightAtOnce = 32

// factsEvery is how often an agent tells its inventory, as the real one does.
const factsEvery = time.Minute

// light is an agent that joins, keeps a link and tells its inventory, by the
// real trust, link and messages. It has no member and applies nothing, so that
// ten thousand fit beside the hub; to the hub it is an agent with nothing to do.
type light struct {
	*member
	version string
	nodes   int
	log     *slog.Logger
	session *link.Session
	stamp   wire.Stamp
	// announced is what the hub wants, as far as this agent was told.
	announced desired.Digest
}

// runLight works until ctx ends; linked is called when the first link is open,
// or there will be none.
func (r *rig) runLight(ctx context.Context, m *member, linked func()) error {
	first := sync.OnceFunc(linked)
	defer first()
	l := &light{member: m, version: r.Version, nodes: r.Nodes, log: r.Log, announced: desired.Root{}.Digest()}
	identity, err := l.identity(ctx)
	if err != nil {
		return err
	}
	if err := identity.Join(ctx, m.ticket.Token); err != nil {
		return err
	}
	for ctx.Err() == nil {
		err := l.once(ctx, identity, first)
		if ctx.Err() == nil {
			r.Log.Debug("a light agent's link ended", "cluster", m.name, "err", err)
		}
		_ = sleep(ctx, time.Second) // the loop sees how it ended
	}
	return ctx.Err()
}

func (l *light) uid() string { return "uid-of-" + l.name }

// inMemory keeps an identity for as long as the process lives.
type inMemory struct{ saved *trust.Identity }

func (s *inMemory) Load(context.Context) (trust.Identity, error) {
	if s.saved == nil {
		return trust.Identity{}, trust.ErrNoIdentity
	}
	return *s.saved, nil
}

func (s *inMemory) Save(_ context.Context, id trust.Identity) error {
	s.saved = &id
	return nil
}

func (l *light) identity(ctx context.Context) (*trust.Client, error) {
	var roots trust.Roots
	if err := json.Unmarshal([]byte(l.ticket.Roots), &roots); err != nil {
		return nil, fmt.Errorf("read the roots in the ticket of %s: %w", l.name, err)
	}
	return trust.OpenClient(ctx, trust.ClientConfig{
		Store: &inMemory{}, Cluster: l.name, ClusterUID: l.uid(), Roots: roots, AgentVersion: l.version, Log: l.log,
		NewSealingKey: func() ([]byte, string, error) {
			key, err := seal.NewKey()
			if err != nil {
				return nil, "", err
			}
			private, err := key.Bytes()
			return private, key.Public(), err
		},
		Connect: func(roots func() *x509.CertPool) *http.Client {
			return link.RenewClient(link.DialConfig{Address: l.ticket.Address, Roots: roots})
		},
	})
}

// once keeps one link until it ends, and returns why it did.
func (l *light) once(ctx context.Context, identity *trust.Client, linked func()) error {
	s, err := link.Dial(ctx, link.DialConfig{Address: l.ticket.Address, Roots: identity.Roots, GetClientCertificate: identity.GetClientCertificate})
	if err != nil {
		return err
	}
	defer s.Close(nil)
	l.session = s
	every, err := l.greet(ctx)
	if err != nil {
		return err
	}
	linked()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { cancel(l.listen(ctx, s)) }()
	return l.speak(ctx, every)
}

// greet returns the period of heartbeats.
func (l *light) greet(ctx context.Context) (time.Duration, error) {
	hello := &wire.Hello{
		Cluster: l.name, ClusterUID: l.uid(), AgentVersion: l.version, Instance: l.name,
		MinVersion: wire.MinVersion, MaxVersion: wire.Version, Desired: l.announced,
	}
	if err := l.session.Send(ctx, wire.Message{Hello: hello}); err != nil {
		return 0, err
	}
	m, err := l.session.Recv(ctx)
	if err != nil {
		return 0, err
	}
	if m.Welcome == nil {
		return 0, fmt.Errorf("the hub does not welcome %s: %+v", l.name, m.Refusal)
	}
	l.stamp = m.Stamp
	return time.Duration(m.Welcome.HeartbeatMillis) * time.Millisecond, nil
}

// listen hears the hub to the end of the link. Nothing is asked of such an
// agent but to go on.
func (l *light) listen(ctx context.Context, s *link.Session) error {
	for {
		m, err := s.Recv(ctx)
		if err != nil {
			return err
		}
		if m.Desired != nil || m.Refusal != nil {
			return fmt.Errorf("%s is idle, and is told %+v %+v", l.name, m.Desired, m.Refusal)
		}
	}
}

func (l *light) speak(ctx context.Context, every time.Duration) error {
	beat, facts := time.NewTicker(every), time.NewTicker(factsEvery)
	defer beat.Stop()
	defer facts.Stop()
	err := l.report(ctx, true)
	for err == nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-facts.C:
			err = l.report(ctx, false)
		case now := <-beat.C:
			err = l.send(ctx, wire.Message{Heartbeat: &wire.Heartbeat{
				Desired: l.announced, Reported: report.DigestOf(nil), At: now.UnixMilli(),
			}})
		}
	}
	return err
}

// report tells the inventory, and that nothing runs.
func (l *light) report(ctx context.Context, full bool) error {
	now := time.Now()
	return l.send(ctx, wire.Message{Report: &wire.Report{Report: report.Report{
		Full: full, At: report.Time(now), Digest: report.DigestOf(nil),
		Facts: &v1alpha1.Facts{
			ObservedAt: metav1.NewTime(now), KubernetesVersion: "v1.36.3", Nodes: int32(l.nodes), NodesReady: int32(l.nodes), Namespaces: 2,
			Agent: &v1alpha1.AgentFacts{Version: l.version},
		},
	}}})
}

func (l *light) send(ctx context.Context, m wire.Message) error {
	m.Stamp = l.stamp
	return l.session.Send(ctx, m)
}
