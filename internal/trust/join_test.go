package trust_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/trust"
)

func TestAnAgentJoinsOnlyOnceAPersonAccepts(t *testing.T) {
	h := newHub(t)
	s := &store{}
	agent := h.agent("eu-1", "uid-1", s)
	token := h.token("eu-1")
	done := make(chan error, 1)
	go func() { done <- agent.Join(t.Context(), token) }()

	waitForSleep(t, h)
	if agent.Identity().Certificate != "" {
		t.Fatal("a certificate was signed before anybody accepted the cluster")
	}
	if id := h.registry.get(t, "eu-1"); id.ClusterUID != "uid-1" || id.SealingKey != "public" || id.AgentVersion != "v0.1.0" {
		t.Errorf("enrolled as %+v", id)
	}
	h.registry.accept("eu-1", true)
	h.clock.Step(time.Minute)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cert := leaf(t, agent)
	if cert.Subject.CommonName != "eu-1" || cert.URIs[0].String() != "atoll://agent/eu-1" {
		t.Errorf("certified as %v, %v", cert.Subject, cert.URIs)
	}
	if life := cert.NotAfter.Sub(h.clock.Now()); life != trust.AgentLife {
		t.Errorf("the certificate lasts %v", life)
	}
	if err := h.verifies(cert); err != nil {
		t.Error(err)
	}
	if !h.registry.get(t, "eu-1").Expires.Equal(cert.NotAfter) {
		t.Error("the hub did not record the end of the certificate")
	}
}

// waitForSleep waits until the one agent of the hub sleeps.
func waitForSleep(t *testing.T, h *hub) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !h.clock.HasWaiters() {
		if time.Now().After(deadline) {
			t.Fatal("the agent does not wait for anything")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRestartedAgentJoinsWithTheKeyItStored(t *testing.T) {
	h := newHub(t)
	s := &store{}
	token := h.token("eu-1")
	before := h.agent("eu-1", "uid-1", s)

	// The hub dies after the token is used and before the identity is stored.
	h.registry.accept("eu-1", true)
	fp, err := trust.Fingerprint(&before.Identity().Key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	record, _ := h.registry.Token(t.Context(), "eu-1")
	if err := h.registry.ConsumeToken(t.Context(), "eu-1", record.Hash, fp, h.clock.Now()); err != nil {
		t.Fatal(err)
	}

	after := h.agent("eu-1", "uid-1", s)
	if !after.Identity().Key.Equal(before.Identity().Key) {
		t.Fatal("the restarted agent made another key")
	}
	h.clock.Step(2 * trust.TokenLife) // its use was in time; only its repetition is late
	if err := after.Join(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if err := h.agent("eu-1", "uid-1", s).Join(t.Context(), ""); err != nil {
		t.Errorf("an agent with a certificate asked for a token: %v", err)
	}
}

func TestTokensServeOnceForTheirClusterForAnHour(t *testing.T) {
	h := newHub(t)
	first := h.agent("eu-1", "uid-1", &store{})
	token := h.token("eu-1")
	h.registry.accept("eu-1", true)
	if err := first.Join(t.Context(), token); err != nil {
		t.Fatal(err)
	}

	refused := wantReason(t, h.agent("eu-1", "uid-1", &store{}).Join(t.Context(), token), trust.TokenUsed)
	if !strings.Contains(refused.Message, "atoll join eu-1") {
		t.Errorf("%q does not say what to do", refused.Message)
	}

	h.token("eu-2")
	wantReason(t, h.agent("eu-2", "uid-2", &store{}).Join(t.Context(), h.token("eu-3")), trust.TokenOtherCluster)

	late := h.token("eu-2")
	h.clock.Step(trust.TokenLife)
	wantReason(t, h.agent("eu-2", "uid-2", &store{}).Join(t.Context(), late), trust.TokenExpired)

	replaced := h.token("eu-2")
	h.token("eu-2")
	wantReason(t, h.agent("eu-2", "uid-2", &store{}).Join(t.Context(), replaced), trust.TokenUnknown)

	foreign, _ := trust.NewToken("nowhere", h.clock.Now())
	wantReason(t, h.agent("nowhere", "uid-2", &store{}).Join(t.Context(), foreign), trust.TokenUnknown)
	for _, nonsense := range []string{"", "atoll1.eu-2", "atoll1.eu-2.AAAA", "atoll2" + strings.TrimPrefix(replaced, "atoll1")} {
		wantReason(t, h.agent("eu-2", "uid-2", &store{}).Join(t.Context(), nonsense), trust.TokenUnknown)
	}
}

func TestTwoAgentsWithOneTokenGiveOneMember(t *testing.T) {
	h := newHub(t)
	token := h.token("eu-1")
	h.registry.accept("eu-1", true)
	const agents = 8
	results := make(chan error, agents)
	for range agents {
		agent := h.agent("eu-1", "uid-1", &store{})
		go func() { results <- agent.Join(t.Context(), token) }()
	}
	joined := 0
	for range agents {
		if err := <-results; err == nil {
			joined++
		} else {
			wantReason(t, err, trust.TokenUsed)
		}
	}
	if joined != 1 {
		t.Errorf("%d agents joined with one token", joined)
	}
}

func TestOneKubernetesClusterHasOneName(t *testing.T) {
	h := newHub(t)
	h.joined("eu-1", "uid-1")

	token := h.token("eu-2")
	h.registry.accept("eu-2", true)
	refused := wantReason(t, h.agent("eu-2", "uid-1", &store{}).Join(t.Context(), token), trust.AlreadyJoined)
	if !strings.Contains(refused.Message, "eu-1") {
		t.Errorf("%q does not name the other cluster", refused.Message)
	}
	// The token of a refused attempt is not lost.
	if err := h.agent("eu-2", "uid-2", &store{}).Join(t.Context(), token); err != nil {
		t.Error(err)
	}

	again := h.token("eu-1")
	wantReason(t, h.agent("eu-1", "uid-9", &store{}).Join(t.Context(), again), trust.WrongCluster)
}

func TestAReinstalledAgentTakesItsPlaceWithANewToken(t *testing.T) {
	h := newHub(t)
	old, _ := h.joined("eu-1", "uid-1")
	anew := h.agent("eu-1", "uid-1", &store{})
	if err := anew.Join(t.Context(), h.token("eu-1")); err != nil {
		t.Fatal(err)
	}
	if err := h.verifies(leaf(t, anew)); err != nil {
		t.Error(err)
	}
	wantReason(t, h.verifies(leaf(t, old)), trust.Revoked)
	wantReason(t, old.Renew(t.Context()), trust.Revoked)
}

func TestAHubThatCannotRecordSignsNothing(t *testing.T) {
	h := newHub(t)
	token := h.token("eu-1")
	h.registry.accept("eu-1", true)
	h.registry.fail(errors.New("etcdserver: no space on /var/lib/secret-path"))
	agent := h.agent("eu-1", "uid-1", &store{})
	done := make(chan error, 1)
	go func() { done <- agent.Join(t.Context(), token) }()
	waitForSleep(t, h)
	if agent.Identity().Certificate != "" {
		t.Error("certified without a record")
	}
	h.registry.fail(nil)
	h.clock.Step(10 * time.Minute)
	if err := <-done; err != nil {
		t.Errorf("the agent gave up on a passing failure: %v", err)
	}
}

func TestAnIdentityCopiedToAnotherClusterIsNotUsed(t *testing.T) {
	h := newHub(t)
	_, s := h.joined("eu-1", "uid-1")
	if _, err := trust.OpenClient(t.Context(), h.config("eu-1", "uid-2", s)); err == nil {
		t.Error("the agent runs under another cluster's identity")
	}
}
