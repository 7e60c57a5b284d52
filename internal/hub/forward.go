package hub

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/transport"

	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/audit"
)

// forwardedBy names the hub that passed a call on. Such a call is not passed on
// again: it came to where the leader was a moment ago.
const forwardedBy = "Atoll-Forwarded-By"

// forwarder answers for a hub that stands by with what the leading one says. Who
// calls was authenticated here and is authorized here and there; the leader
// believes the name because it comes with the certificate of a hub.
type forwarder struct {
	self, leader string
	// over ends when another leads: what a frozen leader was asked is not answered.
	over context.Context
	// where reads the address that the leader recorded.
	where     func(context.Context) (whereabouts, error)
	transport http.RoundTripper
}

// standBy passes calls on to a leader, by its name.
func (s *start) standBy(leader string) {
	over, end := context.WithCancel(context.Background())
	s.late.standBy(&forwarder{
		self: s.self.Name, leader: leader, over: over, transport: s.peers,
		where: func(ctx context.Context) (whereabouts, error) { return theLeader(ctx, s.live, s.Namespace, leader) },
	}, end)
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if by := r.Header.Get(forwardedBy); by != "" {
		unavailable(w, fmt.Sprintf("this hub stands by for %s; a call that another hub passed on goes no further; try again in a moment", f.leader))
		return
	}
	who, ok := request.UserFrom(r.Context())
	if !ok {
		http.Error(w, "the request carries no user", http.StatusInternalServerError)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(f.over, cancel)()
	at, err := f.where(ctx)
	if err != nil {
		unavailable(w, err.Error())
		return
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { f.rewrite(p, at.Address, who) },
		Transport:     f.transport,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			unavailable(w, fmt.Sprintf("this hub stands by, and %s, which leads, does not answer at %s: %v; if it is gone, another leads soon", f.leader, at.Address, err))
		},
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
}

func (f *forwarder) rewrite(p *httputil.ProxyRequest, address string, who user.Info) {
	in := p.In.URL
	p.Out.URL = &url.URL{Scheme: "https", Host: address, Path: in.Path, RawPath: in.RawPath, RawQuery: in.RawQuery}
	p.Out.Host = address
	for name := range p.Out.Header {
		// Who was impersonated is the caller by now.
		if name == "Authorization" || strings.HasPrefix(name, "Impersonate-") {
			p.Out.Header.Del(name)
		}
	}
	p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
	p.SetXForwarded() // for the leader's audit log
	transport.SetAuthProxyHeaders(p.Out, who.GetName(), who.GetUID(), who.GetGroups(), extraOf(p.In.Context(), who))
	p.Out.Header.Set(forwardedBy, f.self)
}

// extraOf is what else is known of who calls, with who impersonates them.
func extraOf(ctx context.Context, who user.Info) map[string][]string {
	extra := map[string][]string{}
	for name, values := range who.GetExtra() {
		if name != apiserver.ImpersonatorExtra { // which nobody says of themselves
			extra[name] = values
		}
	}
	if o := audit.OriginFrom(ctx); o != nil && o.Authenticated != "" && o.Authenticated != who.GetName() {
		extra[apiserver.ImpersonatorExtra] = []string{o.Authenticated}
	}
	return extra
}
