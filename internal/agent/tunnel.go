package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/wire"
)

// Prefixes of what a stream may ask for.
const (
	// memberPrefix is the member's own API, as the caller.
	memberPrefix = "/member"
	// localPrefix is the agent's own answers.
	localPrefix = "/agent"
)

// Identity prefix of people in a member: a hub admin is nothing there until
// the member grants something to this name.
const identityPrefix = "atoll:"

// hubAdmins would be, with the prefix, the group of the hub's own admins, who have
// every right to Atoll's objects where the hub stores in this very cluster.
const hubAdmins = "admins"

// tunnel serves the streams that the hub opens. It maps identities itself: the
// hub's word makes nobody anything in the member.
type tunnel struct {
	// limits is asked at each request, so a change in the member counts at once.
	limits func() Forbidden
	member http.Handler
	local  http.Handler
	log    *slog.Logger
}

// Forbidden is what the member forbids to the tunnel.
type Forbidden struct{ Tunnel, Exec, Logs bool }

// newTunnel reaches the member with cfg, the account that may impersonate.
func newTunnel(cfg *rest.Config, limits func() Forbidden, local http.Handler, log *slog.Logger) (*tunnel, error) {
	host, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("tunnel to the member: %w", err)
	}
	transport, err := memberTransport(cfg)
	if err != nil {
		return nil, fmt.Errorf("tunnel to the member: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: host.Scheme, Host: host.Host})
			r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, memberPrefix)
			r.Out.URL.RawPath = strings.TrimPrefix(r.In.URL.RawPath, memberPrefix)
			r.Out.Host = host.Host
			// Here and not before: the proxy has just dropped the headers that
			// the caller named in Connection, which could be these.
			h, _ := r.In.Context().Value(headerKey{}).(wire.StreamHeader)
			impersonate(r.Out.Header, h)
		},
		Transport:     transport,
		FlushInterval: -1, // watches and logs are read as they come
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "the member's API does not answer: "+err.Error(), http.StatusBadGateway)
		},
	}
	return &tunnel{limits: limits, member: proxy, local: local, log: log}, nil
}

// byUpgrade sends what becomes a stream of another protocol, such as exec and
// port-forward, over HTTP/1.1: in HTTP/2 there is no such upgrade.
type byUpgrade struct{ plain, upgrading http.RoundTripper }

func memberTransport(cfg *rest.Config) (http.RoundTripper, error) {
	plain, err := rest.TransportFor(cfg)
	if err != nil {
		return nil, err
	}
	cfg = rest.CopyConfig(cfg)
	cfg.NextProtos = []string{"http/1.1"}
	upgrading, err := rest.TransportFor(cfg)
	return byUpgrade{plain, upgrading}, err
}

func (b byUpgrade) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Upgrade") != "" {
		return b.upgrading.RoundTrip(r)
	}
	return b.plain.RoundTrip(r)
}

// serve answers the streams of a session until it ends.
func (t *tunnel) serve(ctx context.Context, s *link.Session) {
	server := &http.Server{
		Handler:           http.HandlerFunc(t.answer),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			h, _ := link.HeaderOf(c)
			return context.WithValue(ctx, headerKey{}, h)
		},
		ErrorLog: slog.NewLogLogger(t.log.Handler(), slog.LevelDebug),
	}
	_ = server.Serve(s.Listener()) // it ends with the session
}

// headerKey finds the header of the stream that a request came on.
type headerKey struct{}

func (t *tunnel) answer(w http.ResponseWriter, r *http.Request) {
	h, _ := r.Context().Value(headerKey{}).(wire.StreamHeader)
	switch {
	case h.Kind != wire.StreamHTTP:
		http.Error(w, "this agent does not know what the stream carries", http.StatusNotImplemented)
	case strings.HasPrefix(r.URL.Path, localPrefix+"/"):
		t.local.ServeHTTP(w, r)
	case !strings.HasPrefix(r.URL.Path, memberPrefix+"/"):
		http.NotFound(w, r)
	case path.Clean(r.URL.Path) != strings.TrimSuffix(r.URL.Path, "/"):
		// What it means would be another's to decide than who judges it here.
		http.Error(w, "the path is not in its plain form", http.StatusBadRequest)
	default:
		if why := refuseTunnel(t.limits(), h, strings.TrimPrefix(r.URL.Path, memberPrefix)); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		t.member.ServeHTTP(w, r)
	}
}

// refuseTunnel says why a call may not pass, or "".
func refuseTunnel(f Forbidden, h wire.StreamHeader, path string) string {
	switch {
	case h.User == "":
		return "the hub named no user"
	case strings.HasPrefix(h.User, "system:"):
		return fmt.Sprintf("user %q is refused: system identities never pass the tunnel", h.User)
	case f.Tunnel:
		return "this cluster forbids the tunnel (atoll-system/atoll-limits: forbidTunnel)"
	}
	resource, sub := subresource(path)
	switch {
	case f.Exec && slices.Contains([]string{"exec", "attach", "portforward", "proxy", "ephemeralcontainers"}, sub):
		return "this cluster forbids exec, attach and port-forward (atoll-system/atoll-limits: forbidExec)"
	case f.Logs && (sub == "log" || resource == "nodes" && sub == "proxy"): // a node's proxy reads logs too
		return "this cluster forbids reading logs (atoll-system/atoll-limits: forbidLogs)"
	}
	return ""
}

// subresource reads /api/V or /apis/GROUP/V, then [/namespaces/NS]/RESOURCE/NAME/SUB…
func subresource(path string) (resource, sub string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	prefix := 2
	if parts[0] == "apis" {
		prefix = 3
	}
	parts = parts[min(prefix, len(parts)):]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	if len(parts) < 3 {
		return "", ""
	}
	return parts[0], parts[2]
}

// impersonate replaces whatever the caller sent: names get the prefix, system
// groups are dropped (the member's API adds system:authenticated itself), and so is
// the one that would make admins of the hub.
func impersonate(header http.Header, h wire.StreamHeader) {
	for name := range header {
		if strings.HasPrefix(strings.ToLower(name), "impersonate-") {
			delete(header, name)
		}
	}
	header.Del("Authorization")
	header.Set("Impersonate-User", identityPrefix+h.User)
	for _, g := range h.Groups {
		if !strings.HasPrefix(g, "system:") && g != hubAdmins {
			header.Add("Impersonate-Group", identityPrefix+g)
		}
	}
}
