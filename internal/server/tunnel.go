package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/authentication/user"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/gateway"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/wire"
)

// proxy passes a call to the member's own API under the caller's name. The
// agent maps the name and the member's RBAC decides.
func (s *server) proxy(w http.ResponseWriter, r *http.Request) {
	who, err := caller(r)
	if err != nil {
		write(w, nil, err)
		return
	}
	c, err := s.cluster(r.Context(), r.PathValue("cluster"))
	if err != nil {
		write(w, nil, err)
		return
	}
	cluster, path := c.Name, "/"+r.PathValue("path")
	ended, err := s.passage(r, cluster, path)
	if err != nil {
		write(w, nil, err)
		return
	}
	code := 0
	defer func() { ended(code) }()
	transport := s.transport(cluster, who)
	defer transport.CloseIdleConnections()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = &url.URL{Scheme: "http", Host: cluster, Path: "/member" + path, RawQuery: p.In.URL.RawQuery}
			p.Out.Host = cluster
			p.Out.Header.Del("Authorization")
		},
		Transport:      transport,
		ModifyResponse: func(answer *http.Response) error { code = answer.StatusCode; return nil },
		FlushInterval:  -1,
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			message := err.Error()
			if errors.Is(err, gateway.ErrNotConnected) {
				message = s.unlinked(c)
			}
			code = http.StatusServiceUnavailable
			write(w, nil, apierrors.NewServiceUnavailable(message))
		},
	}
	proxy.ServeHTTP(w, r)
}

// unlinked says why there is no way into a cluster, and what helps.
func (s *server) unlinked(c *v1alpha1.Cluster) string {
	switch down := s.down(c, v1alpha1.Disconnected, nil); {
	case c.Status.Identity == nil:
		return fmt.Sprintf("cluster %s cannot be reached: no agent has joined from it yet; install one: atoll join %s", c.Name, c.Name)
	case !c.Spec.Accepted:
		return fmt.Sprintf("cluster %s cannot be reached: its agent waits to be accepted; when it is yours: atoll accept %s", c.Name, c.Name)
	case !c.Confirmed():
		return fmt.Sprintf("cluster %s cannot be reached: this hub was restored or rebuilt, and its agent waits to be confirmed; when it is yours still: atoll accept %s", c.Name, c.Name)
	case down.LastContact.IsZero():
		return fmt.Sprintf("cluster %s cannot be reached: its agent has never been connected; look for its pod there, and: %s", c.Name, down.Do)
	default:
		return fmt.Sprintf("cluster %s cannot be reached: the hub last heard from its agent at %s, %s ago; what runs there goes on, and it is reached again as soon as its agent connects; see: %s",
			c.Name, down.LastContact.UTC().Format(time.RFC3339), s.Now().Sub(down.LastContact).Round(time.Second), down.Do)
	}
}

// transport opens one stream per connection, each naming the caller.
func (s *server) transport(cluster string, who user.Info) *http.Transport {
	header := wire.StreamHeader{Kind: wire.StreamHTTP, RequestID: string(uuid.NewUUID())}
	if who != nil {
		header.User, header.Groups = who.GetName(), who.GetGroups()
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.Gateway.Dial(ctx, cluster, header)
		},
		DisableKeepAlives: true,
		// The member's words pass as they are.
		DisableCompression: true,
	}
}

// bounds are how long one cluster may take to answer, and how much it may say.
type bounds struct {
	timeout time.Duration
	bytes   int64
}

// brief is for a fleet-wide read.
var brief = bounds{timeout: 5 * time.Second, bytes: 32 << 20}

// ask gets one of the agent's own answers.
func (s *server) ask(ctx context.Context, cluster, path string) ([]byte, error) {
	return s.askFor(ctx, call{method: http.MethodGet, cluster: cluster, path: path, within: brief})
}

// call is one question to an agent.
type call struct {
	method, cluster, path string
	within                bounds
}

func (s *server) askFor(ctx context.Context, c call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.within.timeout)
	defer cancel()
	if c.cluster == placement.Hub {
		return s.Itself.Answer(ctx, c.path)
	}
	transport := s.transport(c.cluster, nil)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, c.method, "http://"+c.cluster+"/agent"+c.path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("no answer within %s", c.within.timeout)
		}
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, c.within.bytes))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s", data)
	}
	return data, nil
}
