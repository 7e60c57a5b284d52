package hub

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/signin"
)

func TestFlagsOfSigningInThatMeanNothingAreRefused(t *testing.T) {
	const file = "signin_test.go" // any that is there
	for what, given := range map[string]struct {
		o    SignIn
		host bool
		why  string
	}{
		"nothing":                  {SignIn{}, false, ""},
		"a file":                   {SignIn{File: file}, false, ""},
		"a file and a client":      {SignIn{File: file, ClientID: "cli", Scopes: []string{"openid"}}, false, ""},
		"a host's provider":        {SignIn{Issuer: "https://sso", ClientID: "cli", Server: "https://api"}, true, ""},
		"a missing file":           {SignIn{File: "nowhere"}, false, "no such file"},
		"a file for a host":        {SignIn{File: file}, true, "the API server of the cluster"},
		"a host's half provider":   {SignIn{Issuer: "https://sso"}, true, "go together"},
		"a provider nobody trusts": {SignIn{Issuer: "https://sso", ClientID: "cli"}, false, "--authentication-config"},
		"another server":           {SignIn{File: file, Server: "https://api"}, false, "--login-server"},
		"a provider without TLS":   {SignIn{File: file, Issuer: "http://sso"}, false, "https://HOST"},
		"no openid":                {SignIn{File: file, Scopes: []string{"email"}}, false, "openid"},
	} {
		err := given.o.check(given.host)
		if (err == nil) != (given.why == "") || err != nil && !strings.Contains(err.Error(), given.why) {
			t.Errorf("%s: %v, not %q", what, err, given.why)
		}
	}
}

// told is what somebody reads at the door, and the status.
func told(t *testing.T, p *doorplate, method string) (*signin.Document, int) {
	t.Helper()
	answer := httptest.NewRecorder()
	p.ServeHTTP(answer, httptest.NewRequest(method, signin.Path, nil))
	if answer.Code != http.StatusOK {
		return nil, answer.Code
	}
	d := &signin.Document{}
	if err := json.Unmarshal(answer.Body.Bytes(), d); err != nil {
		t.Fatal(err)
	}
	return d, answer.Code
}

func TestTheDoorTellsWhomTheHubTrusts(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	p := &doorplate{options: SignIn{File: "f"}, log: log}
	if _, code := told(t, p, http.MethodGet); code != http.StatusServiceUnavailable {
		t.Errorf("a hub that starts answers %d", code)
	}
	p.open([]byte("hub's"))
	if _, code := told(t, p, http.MethodGet); code != http.StatusNotFound {
		t.Errorf("a hub that trusts nobody answers %d", code)
	}
	issuers := []apiserver.TokenIssuer{
		{URL: "https://one", Audiences: []string{"cli", "ci"}, CA: "one's"}, {URL: "https://two", Audiences: []string{"x"}},
	}
	p.trusted(issuers)
	d, _ := told(t, p, http.MethodGet)
	if diff := cmp.Diff(&signin.Document{Issuer: "https://one", ClientID: "cli", IssuerCA: "one's", CA: "hub's"}, d); diff != "" {
		t.Error(diff)
	}
	if _, code := told(t, p, http.MethodPost); code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered %d", code)
	}
	p.options = SignIn{File: "f", Issuer: "https://two", ClientID: "cli", Scopes: []string{"openid"}}
	d, _ = told(t, p, http.MethodGet)
	if diff := cmp.Diff(&signin.Document{Issuer: "https://two", ClientID: "cli", Scopes: []string{"openid"}, CA: "hub's"}, d); diff != "" {
		t.Error(diff)
	}
	p.trusted(issuers[:1]) // the file changed
	if d, code := told(t, p, http.MethodGet); code != http.StatusNotFound {
		t.Errorf("a provider that counts no more is told: %+v, %d", d, code)
	}
}

func TestTheDoorOfAHubOnAClusterLeadsToTheCluster(t *testing.T) {
	config := &rest.Config{Host: "https://api", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("api's")}}
	options := SignIn{Issuer: "https://sso", ClientID: "cli"}
	p := &doorplate{options: options}
	p.pointTo(config, false)
	p.open([]byte("hub's"))
	d, _ := told(t, p, http.MethodGet)
	if diff := cmp.Diff(&signin.Document{Issuer: "https://sso", ClientID: "cli", Server: "https://api", ServerCA: "api's", CA: "hub's"}, d); diff != "" {
		t.Error(diff)
	}
	inside := &doorplate{options: options}
	inside.pointTo(config, true)
	inside.open([]byte("hub's"))
	if d, code := told(t, inside, http.MethodGet); code != http.StatusNotFound {
		t.Errorf("an address that only pods reach is told: %+v, %d", d, code)
	}
	inside.options.Server = "https://public"
	inside.pointTo(config, true)
	if d, _ := told(t, inside, http.MethodGet); d == nil || d.Server != "https://public" {
		t.Errorf("the server that was given is not told: %+v", d)
	}
}
