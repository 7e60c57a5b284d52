package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"

	"atoll.dev/atoll/internal/apiserver/pki"
	"atoll.dev/atoll/internal/sandbox/oidc"
)

func newProvider(t *testing.T) *oidc.Provider {
	t.Helper()
	p, err := oidc.New(map[string]any{"email": "ada@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func hubOf(p *oidc.Provider) *Hub {
	return &Hub{Document: Document{Issuer: p.URL, ClientID: oidc.ClientID, IssuerCA: p.CA}, URL: "https://hub.example.com:7443"}
}

// words takes what a person is told.
type words struct {
	mu   sync.Mutex
	told []string
}

func (w *words) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, fmt.Sprintf(format, args...))
}

// signedIn is a session by the browser, kept.
func signedIn(t *testing.T, p *oidc.Provider) (Sessions, string) {
	t.Helper()
	login := &Login{Hub: hubOf(p), Redirect: DefaultRedirect, Say: (&words{}).say, Now: time.Now, Open: func(address string) error {
		go p.SignIn(address) //nolint:errcheck // A sign-in that fails is seen by who waits for it.
		return nil
	}}
	s, err := login.InBrowser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sessions, id := Sessions(filepath.Join(t.TempDir(), "sessions")), NewID()
	if err := sessions.Save(id, s); err != nil {
		t.Fatal(err)
	}
	return sessions, id
}

// nearItsEnd is half a minute before the end of the session's token.
func nearItsEnd(t *testing.T, sessions Sessions, id string) func() time.Time {
	t.Helper()
	s, err := sessions.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	return func() time.Time { return s.GoodUntil.Add(-30 * time.Second) }
}

func tokenOf(t *testing.T, data []byte) *clientauthenticationv1.ExecCredential {
	t.Helper()
	c := &clientauthenticationv1.ExecCredential{}
	if err := json.Unmarshal(data, c); err != nil || c.Kind != "ExecCredential" || c.Status == nil || c.Status.Token == "" {
		t.Fatalf("%s is no credential: %v", data, err)
	}
	return c
}

func TestASessionIsBegunInABrowserRenewedAndRevoked(t *testing.T) {
	p := newProvider(t)
	sessions, id := signedIn(t, p)
	if info, err := os.Stat(filepath.Join(string(sessions), id+".json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the session's file: %v, %v", info, err)
	}
	first, err := sessions.Credential(t.Context(), id, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	later := nearItsEnd(t, sessions, id)
	second, err := sessions.Credential(t.Context(), id, later)
	if err != nil || tokenOf(t, second).Status.Token == tokenOf(t, first).Status.Token {
		t.Fatalf("near its end the token is not renewed: %v", err)
	}
	if n := p.Sessions(); n != 1 {
		t.Errorf("%d refresh tokens count, not one", n)
	}
	if err := sessions.End(t.Context(), id); err != nil || p.Sessions() != 0 {
		t.Errorf("after the end %d refresh tokens count: %v", p.Sessions(), err)
	}
	if _, err := sessions.Credential(t.Context(), id, time.Now); !errors.Is(err, ErrNoSession) || !strings.Contains(err.Error(), "atoll login") {
		t.Errorf("a session that ended gives %v", err)
	}
	if err := sessions.End(t.Context(), id); err != nil {
		t.Errorf("ending it again: %v", err)
	}
}

// A provider that takes each refresh token once ends a session of which two
// programs trade the same in.
func TestManyProgramsRenewASessionOnce(t *testing.T) {
	p := newProvider(t)
	sessions, id := signedIn(t, p)
	later := nearItsEnd(t, sessions, id)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if _, err := sessions.Credential(t.Context(), id, later); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := p.Sessions(); n != 1 {
		t.Errorf("%d refresh tokens count, not one", n)
	}
}

// A program that waits for a provider which hangs holds up no other whose token is good.
func TestAGoodTokenWaitsForNoOtherProgram(t *testing.T) {
	sessions, id := signedIn(t, newProvider(t))
	done, err := sessions.hold(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if _, err := sessions.Credential(t.Context(), id, nearItsEnd(t, sessions, id)); err != nil {
		t.Errorf("the token is good for half a minute yet: %v", err)
	}
}

func TestWhileTheProviderIsAwayASessionGoesOnToItsEnd(t *testing.T) {
	p := newProvider(t)
	sessions, id := signedIn(t, p)
	p.Away(true)
	if _, err := sessions.Credential(t.Context(), id, nearItsEnd(t, sessions, id)); err != nil {
		t.Errorf("the token is good for half a minute yet: %v", err)
	}
	over := func() time.Time { return time.Now().Add(2 * time.Hour) }
	_, err := sessions.Credential(t.Context(), id, over)
	if err == nil || !strings.Contains(err.Error(), "try again when "+p.URL+" answers") {
		t.Errorf("after its end it says %v", err)
	}
	p.Away(false)
	if _, err := sessions.Credential(t.Context(), id, over); err != nil {
		t.Errorf("when the provider is back: %v", err)
	}
	if err := sessions.End(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// What was revoked elsewhere, by an administrator of the provider, is not asked
// for again and again.
func TestASessionThatTheProviderEndedAsksToSignInAgain(t *testing.T) {
	p := newProvider(t)
	sessions, id := signedIn(t, p)
	s, err := sessions.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = sessions.Credential(t.Context(), id, func() time.Time { return time.Now().Add(2 * time.Hour) })
	if err == nil || !strings.Contains(err.Error(), "invalid_grant") || !strings.Contains(err.Error(), "atoll login https://hub.example.com:7443") {
		t.Errorf("it says %v", err)
	}
}

// The hub judges the token by its own clock; this machine's may be wrong.
func TestAWrongClockNeitherEndsNorKeepsAToken(t *testing.T) {
	p := newProvider(t)
	for _, wrong := range []time.Duration{-48 * time.Hour, 48 * time.Hour} {
		now := func() time.Time { return time.Now().Add(wrong) }
		login := &Login{Hub: hubOf(p), Redirect: DefaultRedirect, Say: (&words{}).say, Now: now, Open: func(address string) error {
			go p.SignIn(address) //nolint:errcheck // As above.
			return nil
		}}
		s, err := login.InBrowser(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !s.fresh(now()) || s.fresh(now().Add(time.Hour)) {
			t.Errorf("with a clock %s off the token is good from %s until %s", wrong, s.Received, s.GoodUntil)
		}
		if s.fresh(now().Add(-time.Hour)) {
			t.Error("a clock that was set back since keeps the token")
		}
	}
}

func TestASessionIsBegunOnAnotherDevice(t *testing.T) {
	p := newProvider(t)
	login := &Login{Hub: hubOf(p), Now: time.Now, Say: func(_ string, args ...any) {
		p.Approve(fmt.Sprint(args[len(args)-1]))
	}}
	s, err := login.OnDevice(t.Context())
	if err != nil || s.RefreshToken == "" || s.IDToken == "" {
		t.Fatalf("%+v, %v", s, err)
	}
}

func TestTheLoopbackListensToItsOwnSignInOnly(t *testing.T) {
	p := newProvider(t)
	shown := make(chan string, 1)
	login := &Login{Hub: hubOf(p), Redirect: "http://localhost:0/back", Say: (&words{}).say, Now: time.Now, Open: func(address string) error {
		shown <- address
		return nil
	}}
	ended := make(chan error, 1)
	go func() {
		_, err := login.InBrowser(t.Context())
		ended <- err
	}()
	address, err := url.Parse(<-shown)
	if err != nil {
		t.Fatal(err)
	}
	redirect := address.Query().Get("redirect_uri")
	for path, status := range map[string]int{"?code=stolen&state=guessed": 400, "?error=access_denied": 400, "/elsewhere": 404} {
		answer, err := http.Get(redirect + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close() //nolint:errcheck // Nothing of it is read.
		if answer.StatusCode != status {
			t.Errorf("%s is answered %s", path, answer.Status)
		}
	}
	state := url.QueryEscape(address.Query().Get("state"))
	answer, err := http.Get(redirect + "?error=access_denied&error_description=not+you&state=" + state)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close() //nolint:errcheck // Nothing of it is read.
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "not you") {
		t.Errorf("the sign-in ends with %v", err)
	}
}

func TestAProviderThatSpeaksForAnotherIsRefused(t *testing.T) {
	p := newProvider(t)
	hub := hubOf(p)
	hub.Issuer = strings.Replace(p.URL, "127.0.0.1", "localhost", 1)
	_, err := (&Login{Hub: hub, Say: (&words{}).say, Now: time.Now}).OnDevice(t.Context())
	if err == nil || !strings.Contains(err.Error(), "calls itself") {
		t.Errorf("got %v", err)
	}
}

// claimed serves a document under a certificate of an authority of its own.
func claimed(t *testing.T, d *Document, signer *pki.Authority) *httptest.Server {
	t.Helper()
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	if _, err := signer.EnsureLeaf(files[0], files[1], pki.Leaf{CommonName: "hub", Hosts: []string{"127.0.0.1"}, Lifetime: time.Hour}, 0); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(Path, Serve(func() *Document { return d }))
	server := httptest.NewUnstartedServer(mux)
	server.TLS = serving(t, files[0], files[1])
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func authorities(t *testing.T) (own, other *pki.Authority) {
	t.Helper()
	var made []*pki.Authority
	for range 2 {
		a, err := pki.OpenAuthority(t.TempDir(), "ca", "hub")
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, a)
	}
	return made[0], made[1]
}

func TestAHubIsBelievedByItsAuthorityAlone(t *testing.T) {
	own, other := authorities(t)
	d := &Document{Issuer: "https://sso.example.com", ClientID: "atoll", CA: string(own.CertPEM)}
	hub := claimed(t, d, own)
	caFile := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, own.CertPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	print := Fingerprint(own.Certificate)
	shown := ""
	confirm := func(fingerprint string) error { shown = fingerprint; return nil }
	for what, trust := range map[string]Trust{
		"file": {CAFile: caFile}, "fingerprint": {Fingerprint: print},
		"fingerprint of another tool": {Fingerprint: "sha256:" + strings.ToLower(strings.ReplaceAll(print, ":", ""))},
		"person":                      {Confirm: confirm},
	} {
		found, err := Discover(t.Context(), hub.URL+"/", trust)
		if err != nil || found.ClientID != "atoll" || found.URL != hub.URL || string(found.CAData) != string(own.CertPEM) {
			t.Errorf("by %s: %+v, %v", what, found, err)
		}
	}
	if shown != print {
		t.Errorf("a person is shown %s, not %s", shown, print)
	}
	impostor := claimed(t, d, other) // names the hub's authority, and is not of it
	for what, refused := range map[string]struct {
		url   string
		trust Trust
	}{
		"a stranger":                   {hub.URL, Trust{}},
		"a person who says no":         {hub.URL, Trust{Confirm: func(string) error { return errors.New("no") }}},
		"another fingerprint":          {hub.URL, Trust{Fingerprint: Fingerprint(other.Certificate)}},
		"an impostor by fingerprint":   {impostor.URL, Trust{Fingerprint: print}},
		"an impostor by person":        {impostor.URL, Trust{Confirm: confirm}},
		"an impostor by file":          {impostor.URL, Trust{CAFile: caFile}},
		"another name of the hub":      {strings.Replace(hub.URL, "127.0.0.1", "localhost", 1), Trust{Confirm: confirm}},
		"a URL without TLS":            {"http://127.0.0.1:1", Trust{}},
		"a URL with somebody's secret": {"https://me:secret@127.0.0.1:1", Trust{}},
	} {
		if found, err := Discover(t.Context(), refused.url, refused.trust); err == nil {
			t.Errorf("%s: %+v", what, found)
		}
	}
}

func TestAHubWithoutAProviderSaysSo(t *testing.T) {
	own, _ := authorities(t)
	hub := claimed(t, nil, own)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: clientOf(own)}}
	answer, err := client.Get(hub.URL + Path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // It was only read.
	if answer.StatusCode != http.StatusNotFound {
		t.Error(answer.Status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Discover(ctx, hub.URL, Trust{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzClaims(f *testing.F) {
	for _, payload := range []string{`{"iss":"i","aud":"c","exp":2,"iat":1}`, `{"aud":["a","c"],"exp":1e300}`, `{"aud":{}}`, `{"exp":"soon"}`, `[]`} {
		f.Add("x." + encodeSegment(payload) + ".x")
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parseClaims(token)
		if err != nil {
			return
		}
		now := time.Unix(1_800_000_000, 0)
		if end := c.goodUntil(now); end.Before(now) || end.After(now.Add(maxLifetime)) {
			t.Errorf("%q is good until %s", token, end)
		}
	})
}

func TestOddClaimsAreRefused(t *testing.T) {
	for payload, why := range map[string]string{
		`{"iss":"i","aud":"c","exp":2}`:                "",
		`{"iss":"i","aud":["x","c"],"exp":2}`:          "",
		`{"iss":"i","aud":["x"],"exp":2}`:              "not for c",
		`{"iss":"j","aud":"c","exp":2}`:                "not of i",
		`{"iss":["i"],"aud":"c","exp":2}`:              "cannot unmarshal",
		`{"iss":"i","aud":"c"}`:                        "how long",
		`{"iss":"i","aud":"c","exp":"tomorrow"}`:       "cannot unmarshal",
		`{"iss":"i","aud":"c","exp":2,"nonce":"else"}`: "another sign-in",
	} {
		c, err := parseClaims("x." + encodeSegment(payload) + ".x")
		nonce := ""
		if strings.Contains(payload, "nonce") {
			nonce = "mine"
		}
		if err == nil {
			err = c.check("i", "c", nonce)
		}
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, not %q", payload, err, why)
		}
	}
}
