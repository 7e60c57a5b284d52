package hostile_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/testfleet"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// takenHub is a hub in the hands of an attacker: its authority is the one that
// the agent pins, its port and its words are real, and it says what it likes.
type takenHub struct {
	t        *testing.T
	listener *link.Listener
	enrolled *enrolments
	sessions chan *link.Session

	mu      sync.Mutex
	stamp   wire.Stamp
	current *conversation
}

// enrolments is the registry of one cluster, in memory.
type enrolments struct {
	mu sync.Mutex
	trust.Enrolment
	token *trust.TokenRecord
}

func (e *enrolments) change(f func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
	return nil
}

func (e *enrolments) Lookup(context.Context, string) (trust.Enrolment, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.Enrolment, nil
}
func (e *enrolments) Token(context.Context, string) (*trust.TokenRecord, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.token, nil
}
func (e *enrolments) ByClusterUID(context.Context, string) (string, error) { return "", nil }
func (e *enrolments) ConsumeToken(_ context.Context, _, _, fingerprint string, at time.Time) error {
	return e.change(func() { e.token.UsedBy, e.token.UsedAt = fingerprint, at })
}
func (e *enrolments) SaveIdentity(_ context.Context, _ string, id trust.Enrolled) error {
	return e.change(func() { e.Identity = &id })
}
func (e *enrolments) Renewed(context.Context, string, trust.Renewal) error { return nil }
func (e *enrolments) SetPending(context.Context, string, string, time.Time) error {
	return errors.New("no rotation here")
}
func (e *enrolments) Promote(context.Context, string, string) error { return nil }

// takeHub starts the hub and a real agent of the member, which trusts it.
func takeHub(t *testing.T, m *testfleet.Member) *takenHub {
	t.Helper()
	ca, err := trust.OpenCA(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	token, record := trust.NewToken(m.Name, time.Now())
	h := &takenHub{
		t: t, sessions: make(chan *link.Session), stamp: wire.Stamp{Incarnation: "first-history", Term: 5},
		enrolled: &enrolments{Enrolment: trust.Enrolment{Exists: true, Accepted: true}, token: &record},
	}
	agents := trust.NewServer(trust.ServerConfig{CA: ca, Registry: h.enrolled})
	certificate, err := ca.Gateway([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.listener, err = link.Listen("127.0.0.1:0", link.Config{
		GetCertificate: certificate.GetCertificate, Roots: ca.Pool, Renew: agents.Handler(),
		VerifyPeer: func(context.Context, *x509.Certificate) error { return nil },
		Stamp:      func() wire.Stamp { return h.now() },
		OnSession: func(ctx context.Context, s *link.Session) {
			select {
			case h.sessions <- s:
				<-s.Done()
			case <-ctx.Done():
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.listener.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	roots, err := json.Marshal(ca.Roots())
	if err != nil {
		t.Fatal(err)
	}
	h.startAgent(m, join.Ticket{Cluster: m.Name, Token: token, Address: h.listener.Addr().String(), Roots: string(roots)})
	return h
}

// startAgent runs the real program with all that `atoll join` installs.
func (h *takenHub) startAgent(m *testfleet.Member, ticket join.Ticket) {
	t := h.t
	t.Helper()
	manifests, err := join.Manifests(ticket, v1alpha1.ProfileFull, "unused")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range manifests {
		if u.GetKind() == "Deployment" {
			continue // the process below is its pod
		}
		if err := m.Client().Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("kubectl"), client.ForceOwnership); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	data, err := ticket.Encode()
	if err != nil {
		t.Fatal(err)
	}
	bootstrap := filepath.Join(dir, "bootstrap.yaml")
	if err := os.WriteFile(bootstrap, data, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := testfleet.Program("atoll-agent")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	agent := exec.Command(program, "run", "--kubeconfig", m.Sandbox.KubeconfigPath(), "--bootstrap", bootstrap)
	agent.Stdout, agent.Stderr = log, log
	agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = agent.Wait() // it was told to end
		if words, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("the agent's log:\n%s", words)
		}
		log.Close()
	})
}

func (h *takenHub) now() wire.Stamp {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stamp
}

// becomes changes who the hub says it is, on its next words.
func (h *takenHub) becomes(incarnation string, term uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stamp = wire.Stamp{Incarnation: incarnation, Term: term}
}

// conversation is one link, after the agent's Hello.
type conversation struct {
	*takenHub
	*link.Session
	hello wire.Hello
	inbox chan wire.Message
}

// meet waits for the agent to dial and welcomes it.
func (h *takenHub) meet() *conversation {
	h.t.Helper()
	c := &conversation{takenHub: h, inbox: make(chan wire.Message, 1000)}
	select {
	case c.Session = <-h.sessions:
	case <-time.After(2 * time.Minute):
		h.t.Fatal("the agent does not dial")
	}
	m, err := c.Recv(h.t.Context())
	if err != nil || m.Hello == nil {
		h.t.Fatalf("the agent's first word: %+v, %v", m, err)
	}
	c.hello = *m.Hello
	h.mu.Lock()
	h.current = c
	h.mu.Unlock()
	c.say(wire.Message{Welcome: &wire.Welcome{Version: wire.Version, HeartbeatMillis: 60_000, Now: time.Now().UnixMilli()}})
	go func() {
		defer close(c.inbox)
		for {
			m, err := c.Recv(context.Background())
			if err != nil {
				return
			}
			c.inbox <- m
		}
	}()
	return c
}

func (c *conversation) say(m wire.Message) {
	c.t.Helper()
	m.Stamp = c.now()
	if err := c.Send(c.t.Context(), m); err != nil {
		c.t.Logf("the agent does not listen any more: %v", err)
	}
}

// hears waits for a word of the agent's for which is holds.
func (c *conversation) hears(what string, is func(wire.Message) bool) wire.Message {
	c.t.Helper()
	deadline := time.After(2 * time.Minute)
	var last []wire.Message
	for {
		select {
		case m, open := <-c.inbox:
			if !open {
				c.t.Fatalf("waiting for %s: the agent hung up: %v", what, c.Err())
			}
			if is(m) {
				return m
			}
			last = append(last, m)
		case <-deadline:
			c.t.Fatalf("waiting for %s; heard only %s", what, told(last))
		}
	}
}

// told is the latest messages, for a failure.
func told(messages []wire.Message) string {
	var b strings.Builder
	for _, m := range messages[max(0, len(messages)-5):] {
		switch {
		case m.Report != nil:
			for _, s := range m.Report.Report.States {
				fmt.Fprintf(&b, "\n%s %s %s: %s %+v", s.Key, s.Sync, s.Health, s.Message, s.Problems)
			}
		default:
			fmt.Fprintf(&b, "\nwant %+v, resend %+v, heartbeat %+v", m.Want, m.Resend, m.Heartbeat)
		}
	}
	return b.String()
}

// hangsUp waits until the agent ends the link.
func (c *conversation) hangsUp(what string) {
	c.t.Helper()
	select {
	case <-c.Done():
	case <-time.After(2 * time.Minute):
		c.t.Fatalf("the agent keeps listening to %s", what)
	}
}

// asks sends a whole root.
func (c *conversation) asks(root desired.Root) {
	c.t.Helper()
	c.say(wire.Message{Desired: &wire.Desired{Delta: desired.Whole(root)}})
}

// wanted waits until the agent asks for a content.
func (c *conversation) wanted(d desired.Digest) {
	c.t.Helper()
	c.hears("a request for content", func(m wire.Message) bool {
		if m.Want != nil {
			for _, w := range m.Want.Contents {
				if w == d {
					return true
				}
			}
		}
		return false
	})
}

// gives sends content as if it had that digest.
func (c *conversation) gives(d desired.Digest, data []byte) {
	c.t.Helper()
	c.say(wire.Message{Content: &wire.Content{Digest: d, Size: int64(len(data)), Data: data}})
}
