package hub

import (
	"net/http/httptest"
	"net/http/httputil"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"

	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/audit"
)

// The leader's audit log has in whose name a call was made that came by way of another hub.
func TestACallThatIsPassedOnTellsWhoImpersonates(t *testing.T) {
	for name, want := range map[string][]string{"bob": {"admin"}, "admin": nil} {
		in := httptest.NewRequest("POST", "/apis/fleet.atoll.dev/v1alpha1/clusters/eu-1/join", nil)
		in.Header.Set("Impersonate-User", name)
		in = in.WithContext(audit.WithOrigin(in.Context(), &audit.Origin{Authenticated: "admin"}))
		p := &httputil.ProxyRequest{In: in, Out: in.Clone(in.Context())}
		who := &user.DefaultInfo{Name: name, Extra: map[string][]string{apiserver.ImpersonatorExtra: {"eve"}, "k": {"v"}}}
		(&forwarder{self: "hub-2"}).rewrite(p, "127.0.0.1:1", who)
		if got := p.Out.Header.Get("X-Remote-User"); got != name {
			t.Errorf("%s is passed on as %q", name, got)
		}
		got := p.Out.Header.Values("X-Remote-Extra-Atoll.dev%2fimpersonator")
		if len(got) != len(want) || len(want) > 0 && got[0] != want[0] {
			t.Errorf("%s: impersonated by %q, not %q, in %v", name, got, want, p.Out.Header)
		}
		if p.Out.Header.Get("X-Remote-Extra-K") != "v" || p.Out.Header.Get("Impersonate-User") != "" {
			t.Errorf("%s: %v", name, p.Out.Header)
		}
	}
}
