package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const key = "0123456789abcdef"

func sign(body, key string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(body))
	return hex.EncodeToString(h.Sum(nil))
}

func TestOnlyWhoKnowsTheKeyIsBelieved(t *testing.T) {
	const body = `{"ref": "refs/heads/main"}`
	for name, c := range map[string]struct {
		header, value, key string
		want               bool
	}{
		"GitHub's signature":                  {"X-Hub-Signature-256", "sha256=" + sign(body, key), key, true},
		"Bitbucket's signature":               {"X-Hub-Signature", "sha256=" + sign(body, key), key, true},
		"Gitea's signature":                   {"X-Gitea-Signature", sign(body, key), key, true},
		"GitLab's token":                      {"X-Gitlab-Token", key, key, true},
		"another key":                         {"X-Hub-Signature-256", "sha256=" + sign(body, key+"x"), key, false},
		"another body":                        {"X-Hub-Signature-256", "sha256=" + sign(body+" ", key), key, false},
		"another token":                       {"X-Gitlab-Token", key + "x", key, false},
		"half a signature":                    {"X-Hub-Signature-256", "sha256=" + sign(body, key)[:32], key, false},
		"no signature":                        {"X-Hub-Signature-256", "", key, false},
		"no key, signed with none":            {"X-Hub-Signature-256", "sha256=" + sign(body, ""), "", false},
		"no key, and no token":                {"X-Gitlab-Token", "", "", false},
		"a key that is short enough to guess": {"X-Gitlab-Token", "secret", "secret", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := proves(http.Header{c.header: {c.value}}, strings.NewReader(body), []byte(c.key))
			if err != nil || got != c.want {
				t.Errorf("it is %t, %v", got, err)
			}
		})
	}
}

func FuzzProves(f *testing.F) {
	f.Add("sha256=00", "token", "body")
	f.Fuzz(func(t *testing.T, signature, token, body string) {
		header := http.Header{"X-Hub-Signature-256": {signature}, "X-Gitea-Signature": {signature}, "X-Gitlab-Token": {token}}
		got, err := proves(header, strings.NewReader(body), []byte(key))
		right := token == key || strings.EqualFold(strings.TrimPrefix(signature, "sha256="), sign(body, key))
		if err != nil || got != right {
			t.Errorf("%q, %q with %q: %t, %v", signature, token, body, got, err)
		}
	})
}

// empty is a store with nothing in it, which tells of each question.
type empty struct {
	client.Client
	asked chan struct{}
}

func (e empty) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	e.asked <- struct{}{}
	return apierrors.NewNotFound(schema.GroupResource{}, "x")
}

func TestStrangersWhoSendSlowlyKeepNobodyAway(t *testing.T) {
	store := empty{asked: make(chan struct{}, 100)}
	server := httptest.NewServer(New(store, time.Now))
	defer server.Close()
	send := func(body io.Reader) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+Path+"shop/repo", body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for range maxAtOnce {
		slow, hold := io.Pipe()
		defer hold.Close()
		r := send(slow)
		go func() {
			if answer, err := http.DefaultClient.Do(r); err == nil {
				_ = answer.Body.Close()
			}
		}()
		<-store.asked
	}
	answer, err := http.DefaultClient.Do(send(strings.NewReader("{}")))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("a hook was answered with %s", answer.Status)
	}
}
