package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// attack is a hub with one enrolled cluster, "eu-1", and whatever an attacker
// holds. It writes requests by hand, for Client would not send such.
type attack struct {
	*testing.T
	now      time.Time
	server   *Server
	registry *oneCluster
	key      *ecdsa.PrivateKey // eu-1's
	token    string            // eu-1's, not used
}

func newAttack(t *testing.T) *attack {
	t.Helper()
	a := &attack{T: t, now: time.Now(), key: mustKey(t)}
	clock := func() time.Time { return a.now }
	ca, err := OpenCA(t.TempDir(), clock)
	if err != nil {
		t.Fatal(err)
	}
	token, record := NewToken("eu-1", a.now)
	a.token = token
	a.registry = &oneCluster{name: "eu-1", token: &record, e: Enrolment{
		Exists: true, Accepted: true,
		Identity: &Enrolled{ClusterUID: "uid-1", Fingerprint: mustFingerprint(t, a.key), SealingKey: "public"},
	}}
	a.server = NewServer(ServerConfig{CA: ca, Registry: a.registry, Now: clock})
	return a
}

func mustKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustFingerprint(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	fp, err := Fingerprint(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return fp
}

func (a *attack) csr(key *ecdsa.PrivateKey, subject string) []byte {
	a.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: subject}, DNSNames: []string{subject}}, key)
	if err != nil {
		a.Fatal(err)
	}
	return der
}

func (a *attack) sign(p proof, key *ecdsa.PrivateKey) []byte {
	a.Helper()
	signature, err := p.sign(key)
	if err != nil {
		a.Fatal(err)
	}
	return signature
}

// renewal is a right request of eu-1's agent, which tests then spoil.
func (a *attack) renewal() *RenewRequest {
	a.Helper()
	public, err := x509.MarshalPKIXPublicKey(&a.key.PublicKey)
	if err != nil {
		a.Fatal(err)
	}
	req := &RenewRequest{
		Cluster: "eu-1", Nonce: a.server.nonces.make("eu-1"), PublicKey: public, CSR: a.csr(a.key, "eu-1"),
		SealingKey: "public", ClusterUID: "uid-1",
	}
	req.Signature = a.sign(req.proof(), a.key)
	return req
}

// post returns the answer's status and the reason of a refusal.
func (a *attack) post(path string, body any) (int, Reason, []byte) {
	a.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		a.Fatal(err)
	}
	w := httptest.NewRecorder()
	a.server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(data)))
	var refused ErrorResponse
	_ = json.Unmarshal(w.Body.Bytes(), &refused) // stays empty when it is no refusal
	return w.Code, refused.Reason, w.Body.Bytes()
}

func (a *attack) wantRefused(what, path string, body any, want Reason) {
	a.Helper()
	before := a.registry.writes
	if status, reason, data := a.post(path, body); status == http.StatusOK || reason != want {
		a.Errorf("%s: answered %d %s, want %s", what, status, data, want)
	}
	if a.registry.writes != before {
		a.Errorf("%s: refused, and yet recorded", what)
	}
}

func TestTheRequestThatAttacksSpoilIsGood(t *testing.T) {
	a := newAttack(t)
	if status, reason, _ := a.post(PathRenew, a.renewal()); status != http.StatusOK {
		t.Fatalf("refused for %s", reason)
	}
}

func TestReplaysAndForgeriesAreRefused(t *testing.T) {
	a := newAttack(t)
	mallory := mustKey(t)

	replayed := a.renewal()
	a.post(PathRenew, replayed)
	a.wantRefused("the same request again", PathRenew, replayed, BadNonce)

	again := a.renewal()
	again.Nonce = replayed.Nonce
	again.Signature = a.sign(again.proof(), a.key)
	a.wantRefused("a used nonce under a new signature", PathRenew, again, BadNonce)

	late := a.renewal()
	a.now = a.now.Add(nonceLife)
	a.wantRefused("a nonce of two minutes ago", PathRenew, late, BadNonce)

	other := a.renewal()
	other.Nonce = a.server.nonces.make("eu-2")
	other.Signature = a.sign(other.proof(), a.key)
	a.wantRefused("a nonce made for another cluster", PathRenew, other, BadNonce)

	foreign := a.renewal()
	foreign.Nonce = newNonces(a.server.now).make("eu-1")
	foreign.Signature = a.sign(foreign.proof(), a.key)
	a.wantRefused("a nonce of another hub", PathRenew, foreign, BadNonce)

	forged := a.renewal()
	forged.Signature = a.sign(forged.proof(), mallory)
	a.wantRefused("a signature of another key", PathRenew, forged, BadSignature)
}

func TestEveryFieldIsUnderTheSignature(t *testing.T) {
	for name, spoil := range map[string]func(a *attack, r *RenewRequest){
		"sealing key":   func(_ *attack, r *RenewRequest) { r.SealingKey = "mallory's" },
		"cluster UID":   func(_ *attack, r *RenewRequest) { r.ClusterUID = "uid-2" },
		"agent version": func(_ *attack, r *RenewRequest) { r.AgentVersion = "v9" },
		"CSR":           func(a *attack, r *RenewRequest) { r.CSR = a.csr(a.key, "other") },
		"nonce":         func(a *attack, r *RenewRequest) { r.Nonce = a.server.nonces.make("eu-1") },
		"cut elsewhere": func(_ *attack, r *RenewRequest) { r.SealingKey, r.ClusterUID = "publicu", "id-1" },
	} {
		a := newAttack(t)
		req := a.renewal()
		spoil(a, req)
		a.wantRefused(name, PathRenew, req, BadSignature)
	}
}

func TestAnothersNameOrKeyOpensNothing(t *testing.T) {
	a := newAttack(t)
	mallory := mustKey(t)
	public, err := x509.MarshalPKIXPublicKey(&mallory.PublicKey)
	if err != nil {
		t.Fatal(err)
	}

	own := a.renewal()
	own.PublicKey, own.CSR = public, a.csr(mallory, "eu-1")
	own.Signature = a.sign(own.proof(), mallory)
	a.wantRefused("a key that is not enrolled", PathRenew, own, Revoked)

	name := a.renewal()
	name.Cluster, name.Nonce = "eu-2", a.server.nonces.make("eu-2")
	name.Signature = a.sign(name.proof(), a.key)
	a.wantRefused("an enrolled key under another name", PathRenew, name, Revoked)

	steal := a.renewal()
	steal.CSR = a.csr(mallory, "eu-1")
	steal.Signature = a.sign(steal.proof(), a.key)
	a.wantRefused("a new key that did not sign", PathRenew, steal, BadSignature)
	steal = a.renewal()
	steal.CSR = a.csr(mallory, "eu-1")
	steal.Signature, steal.NewSignature = a.sign(steal.proof(), mallory), a.sign(steal.proof(), mallory)
	a.wantRefused("a new key that the enrolled one did not sign for", PathRenew, steal, BadSignature)

	moved := a.renewal()
	moved.ClusterUID = "uid-2"
	moved.Signature = a.sign(moved.proof(), a.key)
	a.wantRefused("an identity copied to another Kubernetes cluster", PathRenew, moved, WrongCluster)

	join := &JoinRequest{
		Cluster: "eu-1", Nonce: a.server.nonces.make("eu-1"), Token: a.token, CSR: a.csr(mallory, "eu-1"),
		SealingKey: "mallory's", ClusterUID: "uid-1",
	}
	join.Signature = a.sign(join.proof(), a.key)
	a.wantRefused("joining with a key that did not sign", PathJoin, join, BadSignature)
	join.Nonce, join.Token = a.server.nonces.make("eu-1"), ""
	join.Signature = a.sign(join.proof(), mallory)
	a.wantRefused("joining without a token in a joined cluster's name", PathJoin, join, TokenUnknown)
}

func TestOnlyTheKeyIsTakenFromACSR(t *testing.T) {
	a := newAttack(t)
	req := a.renewal()
	req.CSR = a.csr(a.key, "us-1")
	req.Signature = a.sign(req.proof(), a.key)
	status, reason, data := a.post(PathRenew, req)
	if status != http.StatusOK {
		t.Fatalf("refused for %s", reason)
	}
	var resp RenewResponse
	if err := json.Unmarshal(data, &resp); err != nil {
		t.Fatal(err)
	}
	cert, err := parseCertificate(resp.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if name, err := clusterOf(cert); err != nil || name != "eu-1" || len(cert.DNSNames) > 0 || cert.IsCA {
		t.Errorf("certified as %q with names %v, CA %v (%v)", name, cert.DNSNames, cert.IsCA, err)
	}
}

func TestStrangersLearnNothingOfOtherClusters(t *testing.T) {
	a := newAttack(t)
	mallory := mustKey(t)
	public, err := x509.MarshalPKIXPublicKey(&mallory.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(cluster string) string {
		req := a.renewal()
		req.Cluster, req.Nonce, req.PublicKey, req.CSR = cluster, a.server.nonces.make(cluster), public, a.csr(mallory, cluster)
		req.Signature = a.sign(req.proof(), mallory)
		_, _, data := a.post(PathRenew, req)
		return strings.ReplaceAll(string(data), cluster, "NAME")
	}
	if joined, unknown := ask("eu-1"), ask("eu-2"); joined != unknown {
		t.Errorf("a stranger tells a joined cluster from an unknown one:\n%s\n%s", joined, unknown)
	}
}

func TestMalformedRequestsAreBadRequests(t *testing.T) {
	a := newAttack(t)
	for name, spoil := range map[string]func(r *RenewRequest){
		"no cluster":              func(r *RenewRequest) { r.Cluster = "" },
		"a name with a new line":  func(r *RenewRequest) { r.Cluster = "eu-1\nforged log line" },
		"a name of 64 letters":    func(r *RenewRequest) { r.Cluster = strings.Repeat("a", 64) },
		"no UID":                  func(r *RenewRequest) { r.ClusterUID = "" },
		"a UID of a kilobyte":     func(r *RenewRequest) { r.ClusterUID = strings.Repeat("u", 1024) },
		"no sealing key":          func(r *RenewRequest) { r.SealingKey = "" },
		"a version of a kilobyte": func(r *RenewRequest) { r.AgentVersion = strings.Repeat("v", 1024) },
		"no CSR":                  func(r *RenewRequest) { r.CSR = nil },
		"no key":                  func(r *RenewRequest) { r.PublicKey = []byte("key") },
	} {
		req := a.renewal()
		spoil(req)
		a.wantRefused(name, PathRenew, req, BadRequest)
	}
	a.wantRefused("a body of a megabyte", PathRenew, strings.Repeat("x", 1<<20), BadRequest)
	a.wantRefused("a list", PathJoin, []int{1}, BadRequest)
}

func TestOneAddressCannotTakeTheHub(t *testing.T) {
	a := newAttack(t)
	a.server.limiter = newLimiter(1, 3, a.server.now)
	from := func(remote string) int {
		r := httptest.NewRequest(http.MethodPost, PathChallenge, strings.NewReader(`{"cluster":"eu-1"}`))
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		a.server.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Header().Get("Retry-After") == "" {
			t.Error("refused without saying when to come back")
		}
		return w.Code
	}
	for range 3 {
		if code := from("192.0.2.1:1000"); code != http.StatusOK {
			t.Fatalf("answered %d within the burst", code)
		}
	}
	if code := from("192.0.2.1:2000"); code != http.StatusServiceUnavailable {
		t.Errorf("answered %d to another port of a busy address", code)
	}
	if code := from("192.0.2.2:1000"); code != http.StatusOK {
		t.Errorf("answered %d to another address", code)
	}
	for i, remote := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "[2001:db8::4]:1"} {
		if code := from(remote); (code == http.StatusOK) != (i < 3) {
			t.Errorf("answered %d to address %d of one /64", code, i)
		}
	}
	a.now = a.now.Add(2 * time.Second)
	if code := from("192.0.2.1:1000"); code != http.StatusOK {
		t.Errorf("answered %d after a pause", code)
	}
}

func TestUsedNoncesAreForgottenOnceExpired(t *testing.T) {
	a := newAttack(t)
	n := a.server.nonces
	for range 100 {
		if err := n.use(n.make("eu-1"), "eu-1"); err != nil {
			t.Fatal(err)
		}
	}
	a.now = a.now.Add(2 * nonceLife)
	if err := n.use(n.make("eu-1"), "eu-1"); err != nil {
		t.Fatal(err)
	}
	if len(n.used) != 1 {
		t.Errorf("%d used nonces are remembered, 1 could still be replayed", len(n.used))
	}
}
