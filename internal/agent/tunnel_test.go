package agent

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/wire"
)

func TestTheTunnelRefuses(t *testing.T) {
	person := wire.StreamHeader{Kind: wire.StreamHTTP, User: "dana"}
	const pod = "/api/v1/namespaces/shop/pods/web-0"
	for _, tc := range []struct {
		name   string
		limits Forbidden
		caller wire.StreamHeader
		path   string
		want   string
	}{
		{"nobody", Forbidden{}, wire.StreamHeader{Kind: wire.StreamHTTP}, pod, "named no user"},
		{"a system identity", Forbidden{}, wire.StreamHeader{User: "system:admin"}, pod, "system identities"},
		{"everybody where the tunnel is forbidden", Forbidden{Tunnel: true}, person, pod, "forbidTunnel"},
		{"exec where it is forbidden", Forbidden{Exec: true}, person, pod + "/exec", "forbidExec"},
		{"port-forward where exec is", Forbidden{Exec: true}, person, pod + "/portforward", "forbidExec"},
		{"a debug container where exec is", Forbidden{Exec: true}, person, pod + "/ephemeralcontainers", "forbidExec"},
		{"exec by way of the node", Forbidden{Exec: true}, person, "/api/v1/nodes/n/proxy/run/shop/web-0/web", "forbidExec"},
		{"logs where they are forbidden", Forbidden{Logs: true}, person, pod + "/log", "forbidLogs"},
		{"logs by way of the node", Forbidden{Logs: true}, person, "/api/v1/nodes/n/proxy/containerLogs/shop/web-0/web", "forbidLogs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if why := refuseTunnel(tc.limits, tc.caller, tc.path); !strings.Contains(why, tc.want) {
				t.Errorf("got %q, want something about %q", why, tc.want)
			}
		})
	}
	for path, limits := range map[string]Forbidden{pod: {Exec: true, Logs: true}, pod + "/log": {Exec: true}, pod + "/exec": {Logs: true},
		"/api/v1/namespaces/proxy/pods/exec": {Exec: true}, "/apis/apps/v1/namespaces/log/deployments/log": {Logs: true}} {
		if why := refuseTunnel(limits, person, path); why != "" {
			t.Errorf("%s with %+v: %s", path, limits, why)
		}
	}
}

// Whatever headers a hub passes on, the member sees the name that the agent made.
func TestTheTunnelsIdentityIsTheAgents(t *testing.T) {
	seen := make(chan http.Header, 1)
	member := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Clone() }))
	defer member.Close()
	tun, err := newTunnel(&rest.Config{Host: member.URL}, func() Forbidden { return Forbidden{} }, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for name, forged := range map[string]http.Header{
		"nothing":                {},
		"a name of its own":      {"Impersonate-User": {"system:admin"}, "Impersonate-Group": {"system:masters"}, "Impersonate-Uid": {"0"}, "Impersonate-Extra-Scopes": {"all"}},
		"headers in small type":  {"impersonate-user": {"system:admin"}},
		"a credential":           {"Authorization": {"Bearer stolen"}},
		"headers to be dropped":  {"Connection": {"Impersonate-User, Impersonate-Group"}},
		"an upgrade that drops":  {"Connection": {"Upgrade, Impersonate-User"}, "Upgrade": {"SPDY/3.1"}},
		"a front proxy's claims": {"X-Remote-User": {"system:admin"}, "X-Remote-Group": {"system:masters"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/member/api/v1/pods", nil)
			for k, v := range forged {
				r.Header[k] = v
			}
			h := wire.StreamHeader{Kind: wire.StreamHTTP, User: "dana", Groups: []string{"team-red", "system:masters", "admins"}}
			tun.answer(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), headerKey{}, h)))
			got := map[string][]string{}
			for k, v := range <-seen {
				if lower := strings.ToLower(k); strings.HasPrefix(lower, "impersonate") || lower == "authorization" {
					got[k] = v
				}
			}
			want := map[string][]string{"Impersonate-User": {"atoll:dana"}, "Impersonate-Group": {"atoll:team-red"}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
