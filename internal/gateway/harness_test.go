package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/gateway"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"
)

// patience is far beyond what anything here takes.
const patience = 30 * time.Second

var stamp = wire.Stamp{Incarnation: "one", Term: 3}

// hub is a Gateway behind a real port with a real authority.
type hub struct {
	t       *testing.T
	ca      *trust.CA
	address string
	book    *desired.Book
	fleet   *observed.Fleet
	gateway *gateway.Gateway
	records *records
	shelf   *shelf
	// heard has the clusters whose reports were entered.
	heard chan string
}

// records answer for the Cluster objects.
type records struct {
	mu       sync.Mutex
	refusals map[string]string // reason by cluster
	accepted map[string]string
	admitted int
	// pause, when set, is received from after a link was admitted.
	pause map[string]chan struct{}
}

func (r *records) Admit(ctx context.Context, cert *x509.Certificate, hello *wire.Hello) (string, string, error) {
	if err := r.Recheck(ctx, cert, hello); err != nil {
		return "", "", err
	}
	r.mu.Lock()
	r.admitted++
	pause, accepted := r.pause[hello.Cluster], r.accepted[hello.Cluster]
	r.mu.Unlock()
	if pause != nil {
		<-pause
	}
	return hello.Cluster, accepted, nil
}

func (r *records) Recheck(_ context.Context, cert *x509.Certificate, hello *wire.Hello) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reason := r.refusals[cert.Subject.CommonName]; reason != "" {
		return &gateway.Refused{Refusal: wire.Refusal{Reason: reason, Message: "as the test says"}}
	}
	if hello.Cluster != cert.Subject.CommonName {
		return &gateway.Refused{Refusal: wire.Refusal{Reason: "WrongCluster", Message: "another's name"}}
	}
	return nil
}

func (r *records) refuse(cluster, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals[cluster] = reason
}

// shelf holds contents.
type shelf struct {
	mu       sync.Mutex
	contents map[desired.Digest][]byte
	values   map[desired.Digest][]wire.SealedValue
}

func (s *shelf) Content(_ context.Context, _ string, d desired.Digest) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.contents[d]; ok {
		return data, nil
	}
	return nil, errors.New("not stored")
}

func (s *shelf) Sealed(_ context.Context, _, _ string, d desired.Digest) ([]wire.SealedValue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[d], nil
}

func (s *shelf) put(data []byte, values ...wire.SealedValue) desired.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := desired.Sum(data)
	s.contents[d], s.values[d] = data, values
	return d
}

func newHub(t *testing.T, heartbeat time.Duration) *hub {
	t.Helper()
	ca, err := trust.OpenCA(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{
		t: t, ca: ca,
		records: &records{refusals: map[string]string{}, accepted: map[string]string{}, pause: map[string]chan struct{}{}},
		shelf:   &shelf{contents: map[desired.Digest][]byte{}, values: map[desired.Digest][]wire.SealedValue{}},
		heard:   make(chan string, 1000),
	}
	h.fleet = observed.New(func(c observed.Change) {
		if !c.Link {
			h.heard <- c.Cluster
		}
	})
	h.book = desired.NewBook(func(c string) { h.gateway.Notify(c) })
	h.gateway = gateway.New(gateway.Options{
		Book: h.book, Fleet: h.fleet, Clusters: h.records, Contents: h.shelf, Stamp: stamp, Version: "v0",
		Heartbeat: heartbeat, Log: slog.New(slog.DiscardHandler),
	})
	certificate, err := ca.Gateway([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	port, err := link.Listen("127.0.0.1:0", link.Config{
		GetCertificate: certificate.GetCertificate, Roots: ca.Pool,
		VerifyPeer: func(context.Context, *x509.Certificate) error { return nil },
		OnSession:  func(ctx context.Context, s *link.Session) { _ = h.gateway.Serve(ctx, s) },
		Stamp:      func() wire.Stamp { return stamp },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.address = port.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- port.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return h
}

// agent is the other end, as bare as the wire.
type agent struct {
	t    *testing.T
	link *link.Session
	got  chan wire.Message // until the link ends
	root desired.Root
}

// dial opens a link with the cluster's certificate and says hello.
func (h *hub) dial(certificate string, hello wire.Hello) *agent {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	chain, _, err := h.ca.IssueAgent(&key.PublicKey, certificate)
	if err != nil {
		h.t.Fatal(err)
	}
	leaf := &tls.Certificate{PrivateKey: key}
	for block, rest := pem.Decode([]byte(chain)); block != nil; block, rest = pem.Decode(rest) {
		leaf.Certificate = append(leaf.Certificate, block.Bytes)
	}
	s, err := link.Dial(h.t.Context(), link.DialConfig{
		Address: h.address, Roots: h.ca.Pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return leaf, nil },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	a := &agent{t: h.t, link: s, got: make(chan wire.Message)}
	h.t.Cleanup(func() { s.Close(nil) })
	if hello.MaxVersion == 0 {
		hello.MinVersion, hello.MaxVersion = wire.MinVersion, wire.Version
	}
	a.say(wire.Message{Hello: &hello})
	return a
}

// listen starts reading; an agent that never does is a slow one.
func (a *agent) listen() *agent {
	go func() {
		defer close(a.got)
		for {
			m, err := a.link.Recv(context.Background())
			if err != nil {
				return
			}
			select {
			case a.got <- m:
			case <-a.link.Done():
				return
			}
		}
	}()
	return a
}

// connect dials and reads the welcome.
func (h *hub) connect(cluster string, hello wire.Hello) *agent {
	h.t.Helper()
	hello.Cluster = cluster
	a := h.dial(cluster, hello).listen()
	a.next("a welcome", func(m wire.Message) bool { return m.Welcome != nil })
	return a
}

func (a *agent) say(m wire.Message) {
	a.t.Helper()
	m.Stamp = stamp
	if err := a.link.Send(a.t.Context(), m); err != nil {
		a.t.Fatal(err)
	}
}

// next skips what does not match.
func (a *agent) next(what string, match func(wire.Message) bool) wire.Message {
	a.t.Helper()
	late := time.After(patience)
	for {
		select {
		case m, ok := <-a.got:
			if !ok {
				a.t.Fatalf("the link ended before %s: %v", what, a.link.Err())
			}
			if match(m) {
				return m
			}
		case <-late:
			a.t.Fatalf("%s does not come", what)
		}
	}
}

// take applies the next change of the root.
func (a *agent) take() desired.Delta {
	a.t.Helper()
	m := a.next("a change", func(m wire.Message) bool { return m.Desired != nil })
	root, err := m.Desired.Delta.Apply(a.root)
	if err != nil {
		a.t.Fatal(err)
	}
	a.root = root
	return m.Desired.Delta
}

func (a *agent) ends(what string) {
	a.t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, ok := <-a.got:
			if !ok {
				return
			}
		case <-late:
			a.t.Fatalf("%s, and the link lives", what)
		}
	}
}

func key(app string) desired.Key { return desired.Key{Project: "demo", Application: app} }

func entry(app string, generation int64) desired.Entry {
	return desired.Entry{Key: key(app), UID: "u", Generation: generation}
}

func (h *hub) set(cluster string, e desired.Entry) {
	h.book.Set(e.Key, map[string]desired.Entry{cluster: e})
}

func whole(states ...report.State) report.Report {
	by := map[desired.Key]report.State{}
	for _, s := range states {
		by[s.Key] = s
	}
	return report.Report{Full: true, States: states, Digest: report.Digest(by)}
}

func well(app string) report.State {
	return report.State{Key: key(app), Sync: report.InSync, Health: report.HealthHealthy}
}

// eventually waits for what another goroutine does.
func (h *hub) eventually(what string, is func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: never", what)
		}
	}
}
