package trust_test

import (
	"errors"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"
)

// TestRenewalWorksLongAfterExpiry is a fleet whose certificates expired a year ago.
func TestRenewalWorksLongAfterExpiry(t *testing.T) {
	h := newHub(t)
	agent, s := h.joined("eu-1", "uid-1")
	before := leaf(t, agent)
	if err := agent.RenewExpired(t.Context()); err != nil || !leaf(t, agent).Equal(before) {
		t.Errorf("a good certificate is renewed: %v", err)
	}
	h.clock.Step(400 * 24 * time.Hour)
	if err := h.verifies(leaf(t, agent)); err == nil {
		t.Fatal("a certificate of a day is good for a year")
	}
	if err := agent.RenewExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.verifies(leaf(t, agent)); err != nil {
		t.Error(err)
	}
	stored, err := s.Load(t.Context())
	if err != nil || stored.Certificate != agent.Identity().Certificate {
		t.Errorf("the new certificate is not stored (%v)", err)
	}
}

func TestARemovedClusterIsRevokedAndCanComeBackOnlyByJoining(t *testing.T) {
	h := newHub(t)
	agent, _ := h.joined("eu-1", "uid-1")
	h.registry.remove("eu-1")
	wantReason(t, h.verifies(leaf(t, agent)), trust.Revoked)
	wantReason(t, agent.Renew(t.Context()), trust.Revoked)

	token := h.token("eu-1")
	h.registry.accept("eu-1", true)
	wantReason(t, agent.Renew(t.Context()), trust.Revoked)
	anew := h.agent("eu-1", "uid-1", &store{})
	if err := anew.Join(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func TestWithdrawnAcceptanceStopsAnAgent(t *testing.T) {
	h := newHub(t)
	agent, _ := h.joined("eu-1", "uid-1")
	h.registry.accept("eu-1", false)
	refused := wantReason(t, h.verifies(leaf(t, agent)), trust.NotAccepted)
	if refused.Refusal().RetryAfterMillis == 0 {
		t.Error("the agent is not told to come back, though a person may accept it")
	}
	wantReason(t, agent.Renew(t.Context()), trust.NotAccepted)
}

func TestAKeyRotatesInTwoPhases(t *testing.T) {
	h := newHub(t)
	agent, _ := h.joined("eu-1", "uid-1")
	old := leaf(t, agent)
	before := h.registry.get(t, "eu-1").Fingerprint

	if err := agent.RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := h.registry.get(t, "eu-1")
	if id.Fingerprint != before || id.Pending == "" {
		t.Fatalf("after the first phase: %+v", id)
	}
	if err := h.verifies(old); err != nil {
		t.Errorf("the old key is refused before the new one was used: %v", err)
	}
	if err := h.verifies(leaf(t, agent)); err != nil {
		t.Fatalf("the new key is refused: %v", err)
	}
	if got := h.registry.get(t, "eu-1"); got.Fingerprint != id.Pending || got.Pending != "" {
		t.Errorf("after the second phase: %+v", got)
	}
	wantReason(t, h.verifies(old), trust.Revoked)
	if err := agent.Renew(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestARotationMayBreakAtAnyPoint(t *testing.T) {
	h := newHub(t)
	agent, s := h.joined("eu-1", "uid-1")

	// The new key is certified, and lost before it was stored.
	s.failing = errors.New("the member's API is down")
	if err := agent.RotateKey(t.Context()); err == nil {
		t.Fatal("a key that is not stored is used")
	}
	s.failing = nil
	restarted := h.agent("eu-1", "uid-1", s)
	if err := h.verifies(leaf(t, restarted)); err != nil {
		t.Fatalf("the stored key is refused: %v", err)
	}
	// The next rotation replaces the lost key, and renewing promotes it.
	if err := restarted.RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := restarted.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	fp, err := trust.Fingerprint(&restarted.Identity().Key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if id := h.registry.get(t, "eu-1"); id.Fingerprint != fp || id.Pending != "" {
		t.Errorf("enrolled %+v, the agent's key is %s", id, fp)
	}
}

func TestHelloMustBeOfTheCertifiedCluster(t *testing.T) {
	h := newHub(t)
	agent, _ := h.joined("eu-1", "uid-1")
	h.joined("eu-2", "uid-2")
	check := func(hello wire.Hello) error { return h.server.CheckHello(t.Context(), leaf(t, agent), hello) }
	if err := check(wire.Hello{Cluster: "eu-1", ClusterUID: "uid-1"}); err != nil {
		t.Error(err)
	}
	wantReason(t, check(wire.Hello{Cluster: "eu-2", ClusterUID: "uid-2"}), trust.WrongCluster)
	wantReason(t, check(wire.Hello{Cluster: "eu-2", ClusterUID: "uid-1"}), trust.WrongCluster)
	wantReason(t, check(wire.Hello{Cluster: "eu-1", ClusterUID: "uid-2"}), trust.WrongCluster)
	h.registry.remove("eu-1")
	wantReason(t, check(wire.Hello{Cluster: "eu-1", ClusterUID: "uid-1"}), trust.Revoked)
}

func TestTheLoopRenewsAtTwoThirdsAndRotatesOldKeys(t *testing.T) {
	h := newHub(t)
	agent, _ := h.joined("eu-1", "uid-1")
	done := make(chan error, 1)
	ctx, cancel := contextOf(t)
	go func() { done <- agent.RenewLoop(ctx) }()

	serial := leaf(t, agent).SerialNumber
	waitForSleep(t, h)
	h.clock.Step(trust.AgentLife / 2)
	if leaf(t, agent).SerialNumber.Cmp(serial) != 0 {
		t.Fatal("renewed at half its life")
	}
	h.clock.Step(trust.AgentLife / 4)
	waitFor(t, "a renewal at three quarters of a life", func() bool { return leaf(t, agent).SerialNumber.Cmp(serial) != 0 })

	key := agent.Identity().Key
	for range 45 { // days
		waitForSleep(t, h)
		h.clock.Step(trust.AgentLife)
	}
	waitFor(t, "a new key after a month", func() bool { return !agent.Identity().Key.Equal(key) })

	cancel()
	if err := <-done; err == nil {
		t.Error("the loop does not say why it ended")
	}
}

// behind is the hub's clock as a machine has it whose own is wrong.
type behind struct {
	*clocktesting.FakeClock
	by time.Duration
}

func (b behind) Now() time.Time                  { return b.FakeClock.Now().Add(-b.by) }
func (b behind) Since(t time.Time) time.Duration { return b.Now().Sub(t) }

func TestAnAgentWhoseClockIsBehindRenewsBeforeItsCertificateEnds(t *testing.T) {
	h := newHub(t)
	cfg := h.config("eu-1", "uid-1", &store{})
	cfg.Clock = behind{h.clock, 10 * time.Hour}
	agent, err := trust.OpenClient(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	token := h.token("eu-1")
	h.registry.accept("eu-1", true)
	if err := agent.Join(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- agent.RenewLoop(ctx) }()
	serial := leaf(t, agent).SerialNumber
	waitForSleep(t, h)
	h.clock.Step(trust.AgentLife * 3 / 4)
	waitFor(t, "a renewal at three quarters of a life", func() bool { return leaf(t, agent).SerialNumber.Cmp(serial) != 0 })
	cancel()
	<-done
}

func TestARevokedAgentKeepsAskingSeldom(t *testing.T) {
	h := newHub(t)
	agent, _ := h.joined("eu-1", "uid-1")
	kept := *h.registry.clusters["eu-1"]
	h.registry.remove("eu-1")
	ctx, cancel := contextOf(t)
	defer cancel()
	go func() { _ = agent.RenewLoop(ctx) }()
	serial := leaf(t, agent).SerialNumber
	waitForSleep(t, h)
	h.clock.Step(trust.AgentLife)
	waitForSleep(t, h)

	// A hub restored from a backup knows it again.
	h.registry.mu.Lock()
	h.registry.clusters["eu-1"] = &kept
	h.registry.mu.Unlock()
	waitFor(t, "a renewal after the hub was restored", func() bool {
		h.clock.Step(time.Minute)
		return leaf(t, agent).SerialNumber.Cmp(serial) != 0
	})
}
