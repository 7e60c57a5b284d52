package deliver_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/notify"
	"atoll.dev/atoll/internal/notify/deliver"
	"atoll.dev/atoll/internal/source"
)

const canary = "canary-4f2a9c-is-never-told"

var loopback = egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// got is a request as a server saw it.
type got struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// receiver answers over HTTPS and keeps what it was asked.
func receiver(t *testing.T, answer func(http.ResponseWriter)) (url string, ca []byte, asked *[]got) {
	t.Helper()
	asked = &[]got{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = append(*asked, got{r.Method, r.URL.EscapedPath(), r.Header, body})
		answer(w)
	}))
	t.Cleanup(server.Close)
	return server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), asked
}

func accept(w http.ResponseWriter) { w.WriteHeader(http.StatusCreated) }

func event() notify.Event {
	return notify.Event{
		Type: notify.Halted, UID: "of-run", Key: "Halted 0 0", At: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC),
		Subject: notify.Subject{Project: "demo", Application: "shop"}, Data: notify.Data{Project: "demo", Application: "shop", Message: "wave 1 failed"},
	}
}

func send(t *testing.T, n v1alpha1.Notification, data map[string][]byte, e notify.Event) error {
	t.Helper()
	s, err := deliver.New("hub-1", n, &source.Secret{Name: "demo/key", Data: data}, loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Send(t.Context(), e)
}

func TestAnEventIsACloudEventThatItsReceiverCanProve(t *testing.T) {
	url, ca, asked := receiver(t, accept)
	n := v1alpha1.Notification{Webhook: &v1alpha1.Webhook{URL: url + "/in?of=atoll"}}
	if err := send(t, n, map[string][]byte{"ca.crt": ca, "hmacKey": []byte(canary), "bearerToken": []byte("a-token")}, event()); err != nil {
		t.Fatal(err)
	}
	r := (*asked)[0]
	if r.Method != http.MethodPost || r.Path != "/in" || r.Header.Get("Content-Type") != "application/cloudevents+json; charset=UTF-8" || r.Header.Get("Authorization") != "Bearer a-token" {
		t.Errorf("asked %+v", r)
	}
	signed := hmac.New(sha256.New, []byte(canary))
	signed.Write(r.Body)
	if want := "sha256=" + hex.EncodeToString(signed.Sum(nil)); r.Header.Get(deliver.SignatureHeader) != want {
		t.Errorf("signed %s", r.Header.Get(deliver.SignatureHeader))
	}
	var body map[string]any
	if err := json.Unmarshal(r.Body, &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"specversion": "1.0", "id": event().ID(), "source": "/atoll/hubs/hub-1", "type": "dev.atoll.application.rollout.halted",
		"subject": "projects/demo/applications/shop", "time": "2026-05-04T12:00:00Z", "datacontenttype": "application/json",
		"data": map[string]any{"project": "demo", "application": "shop", "message": "wave 1 failed"},
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
}

func TestEachGitHostIsAskedAsItDocuments(t *testing.T) {
	const sha = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
	for provider, want := range map[v1alpha1.GitProvider]struct{ base, path, header, token, state string }{
		v1alpha1.GitHub: {"/api/v3", "/api/v3/repos/acme/shop/statuses/" + sha, "Authorization", "Bearer " + canary, "failure"},
		v1alpha1.GitLab: {"/api/v4", "/api/v4/projects/acme%2Fshop/statuses/" + sha, "PRIVATE-TOKEN", canary, "failed"},
		v1alpha1.Gitea:  {"/api/v1", "/api/v1/repos/acme/shop/statuses/" + sha, "Authorization", "token " + canary, "failure"},
	} {
		url, ca, asked := receiver(t, accept)
		n := v1alpha1.Notification{CommitStatus: &v1alpha1.CommitStatus{Provider: provider, URL: url + want.base, TargetURL: "https://atoll.example.com/${project}/${application}"}}
		e := notify.Event{Type: notify.Commit, Report: &notify.CommitReport{
			URL: url + "/acme/shop.git", SHA: sha, State: notify.CommitFailure, Context: "atoll/demo/shop", Description: "halted",
		}}
		if err := send(t, n, map[string][]byte{"ca.crt": ca, "password": []byte(canary)}, e); err != nil {
			t.Errorf("%s: %v", provider, err)
			continue
		}
		r := (*asked)[0]
		if r.Method != http.MethodPost || r.Path != want.path || r.Header.Get(want.header) != want.token || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s was asked %+v", provider, r)
		}
		var body map[string]any
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]any{"state": want.state, "context": "atoll/demo/shop", "description": "halted", "target_url": "https://atoll.example.com/demo/shop"}, body); diff != "" {
			t.Errorf("%s: %s", provider, diff)
		}
	}
}

func TestAnAnswerSaysWhatBecomesOfTheEvent(t *testing.T) {
	hook, github, gitlab := v1alpha1.GitProvider(""), v1alpha1.GitHub, v1alpha1.GitLab
	for _, c := range []struct {
		to           v1alpha1.GitProvider
		code         int
		header, body string
		want         string
	}{
		{hook, 202, "", "", "taken"},
		{hook, 307, "", "", "away"},
		{hook, 401, "", "", "away"},
		{hook, 404, "", "", "away"},
		{hook, 410, "", "", "final"},
		{hook, 415, "", "", "final"},
		{hook, 429, "Retry-After: 30", "", "away for 30s"},
		{hook, 503, "", strings.Repeat("x", 1<<20), "away"},
		{github, 404, "", "", "again"},
		{github, 403, "", "", "again"},
		{github, 403, "X-RateLimit-Remaining: 0", "", "away"},
		{github, 422, "", "", "final"},
		{gitlab, 400, "", `{"message":"Cannot transition status via :run from :running"}`, "taken"},
		{gitlab, 400, "", `{"message":"bad"}`, "final"},
	} {
		url, ca, asked := receiver(t, func(w http.ResponseWriter) {
			if name, value, ok := strings.Cut(c.header, ": "); ok {
				w.Header().Set(name, value)
			}
			w.Header().Set("Location", "https://127.0.0.1:1/elsewhere")
			w.WriteHeader(c.code)
			_, _ = io.WriteString(w, c.body)
		})
		n, e := v1alpha1.Notification{Webhook: &v1alpha1.Webhook{URL: url + "/" + canary}}, event()
		if c.to != "" {
			n = v1alpha1.Notification{CommitStatus: &v1alpha1.CommitStatus{Provider: c.to, URL: url}}
			e = notify.Event{Type: notify.Commit, Report: &notify.CommitReport{URL: url + "/acme/shop", SHA: "1", Context: "c"}}
		}
		err := send(t, n, map[string][]byte{"ca.crt": ca, "bearerToken": []byte(canary)}, e)
		result := "taken"
		var f *deliver.Failure
		if errors.As(err, &f) {
			switch {
			case f.Final:
				result = "final"
			case f.Away && f.After > 0:
				result = fmt.Sprint("away for ", f.After)
			case f.Away:
				result = "away"
			default:
				result = "again"
			}
		}
		if result != c.want || len(*asked) != 1 {
			t.Errorf("%q answers %d %s: %s after %d requests, want %s (%v)", c.to, c.code, c.header, result, len(*asked), c.want, err)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("a secret is told: %v", err)
		}
	}
}

func TestNobodyElseIsDialledAndNothingElseTrusted(t *testing.T) {
	url, ca, asked := receiver(t, accept)
	n := v1alpha1.Notification{Webhook: &v1alpha1.Webhook{URL: url}}
	plain, err := deliver.New("hub-1", n, &source.Secret{Name: "demo/key", Data: map[string][]byte{"ca.crt": ca}}, egress.Guard{})
	if err != nil {
		t.Fatal(err)
	}
	var f *deliver.Failure
	if err := plain.Send(t.Context(), event()); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("the hub's own machine: %v", err)
	}
	stranger, err := deliver.New("hub-1", n, nil, loopback)
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Send(t.Context(), event()); !errors.As(err, &f) || !f.Away || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("an authority that nobody knows: %v", err)
	}
	n.Webhook.URL = "http" + strings.TrimPrefix(url, "https")
	if err := send(t, n, map[string][]byte{"ca.crt": ca}, event()); err == nil {
		t.Error("an event was sent in the clear")
	}
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	n.Webhook.URL = "https://" + dead.Addr().String()
	if err := send(t, n, map[string][]byte{"ca.crt": ca}, event()); !errors.As(err, &f) || !f.Away {
		t.Errorf("nobody listens: %v", err)
	}
	if len(*asked) != 0 {
		t.Errorf("asked %+v", *asked)
	}
}

func TestASecretWithoutWhatIsNeededIsNamedAndNotQuoted(t *testing.T) {
	hook, host := v1alpha1.Notification{Webhook: &v1alpha1.Webhook{URL: "https://h"}}, v1alpha1.Notification{CommitStatus: &v1alpha1.CommitStatus{Provider: v1alpha1.GitHub}}
	for name, c := range map[string]struct {
		n    v1alpha1.Notification
		data map[string][]byte
		ok   bool
	}{
		"a key alone":          {hook, map[string][]byte{"hmacKey": []byte(canary)}, true},
		"a key that is short":  {hook, map[string][]byte{"hmacKey": []byte("canary")}, false},
		"nothing":              {hook, nil, false},
		"a bad authority":      {hook, map[string][]byte{"hmacKey": []byte(canary), "ca.crt": []byte(canary)}, false},
		"a token":              {host, map[string][]byte{"bearerToken": []byte(canary)}, true},
		"an authority alone":   {host, map[string][]byte{"ca.crt": []byte(canary)}, false},
		"a key for a Git host": {host, map[string][]byte{"hmacKey": []byte(canary)}, false},
	} {
		_, err := deliver.New("hub-1", c.n, &source.Secret{Name: "demo/key", Data: c.data}, loopback)
		if (err == nil) != c.ok || err != nil && (strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "demo/key")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
