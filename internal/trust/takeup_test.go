package trust_test

import (
	"context"
	"crypto/x509"
	"testing"
	"time"

	"atoll.dev/atoll/internal/trust"
)

// rebuilt is the hub after it lost its records, with its keys; agents show what
// shows returns.
func (h *hub) rebuilt(shows func() *x509.Certificate) *hub {
	empty := *h
	empty.registry = newMemory()
	removed := map[string]bool{}
	empty.server = trust.NewServer(trust.ServerConfig{CA: h.ca, Registry: empty.registry, Now: h.clock.Now, Rebuild: &trust.Rebuild{
		Peer: func(context.Context) *x509.Certificate { return shows() },
		TakeUp: func(_ context.Context, cluster string, id trust.Enrolled) error {
			if removed[cluster] {
				return &trust.Refused{Reason: trust.Revoked, Message: "removed"}
			}
			removed[cluster] = true
			empty.registry.mu.Lock()
			defer empty.registry.mu.Unlock()
			empty.registry.clusters[cluster] = &record{Enrolment: trust.Enrolment{Exists: true, Identity: &id}}
			return nil
		},
	}})
	return &empty
}

func TestAHubThatIsRebuiltTakesUpWhomItsAuthorityCertified(t *testing.T) {
	h := newHub(t)
	_, s := h.joined("eu-1", "uid-1")
	stranger := newHub(t)
	forger, _ := stranger.joined("eu-1", "uid-1")
	other, _ := h.joined("eu-2", "uid-2")
	h.clock.Step(90 * 24 * time.Hour)
	for range 2 {
		if err := h.ca.Rotate(); err != nil {
			t.Fatal(err)
		}
		h.clock.Step(30 * 24 * time.Hour)
		h.ca.Pool() // the root before opens no links any more
	}

	var shown *x509.Certificate
	empty := h.rebuilt(func() *x509.Certificate { return shown })
	agent := empty.agent("eu-1", "uid-1", s)
	mine := leaf(t, agent)
	for what, cert := range map[string]*x509.Certificate{"no certificate": nil, "that of another cluster": leaf(t, other), "one of another authority": leaf(t, forger)} {
		shown = cert
		wantReason(t, agent.Renew(t.Context()), trust.Revoked)
		if e, err := empty.registry.Lookup(t.Context(), "eu-1"); err != nil || e.Exists {
			t.Errorf("with %s it is taken up: %v", what, err)
		}
	}
	wantReason(t, empty.server.VerifyPeer(t.Context(), mine), trust.NotAccepted)

	shown = mine
	wantReason(t, agent.Renew(t.Context()), trust.NotAccepted)
	if id := empty.registry.get(t, "eu-1"); id.ClusterUID != "uid-1" || id.SealingKey != "public" || !id.Expires.Equal(mine.NotAfter) {
		t.Errorf("it is taken up as %+v", id)
	}
	empty.registry.accept("eu-1", true)
	if err := agent.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := empty.verifies(leaf(t, agent)); err != nil {
		t.Error(err)
	}
	empty.registry.remove("eu-1")
	wantReason(t, agent.Renew(t.Context()), trust.Revoked)
}
