package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/audit"
	"atoll.dev/atoll/internal/explain"
	"atoll.dev/atoll/internal/recovery"
)

// Client calls the fleet API of a hub.
type Client struct {
	http *http.Client
	base *url.URL
}

// NewClient uses the same kubeconfig as kubectl would.
func NewClient(cfg *rest.Config) (*Client, error) {
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	return &Client{http: h, base: base}, nil
}

// Overview is the whole fleet on one screen.
func (c *Client) Overview(ctx context.Context) (*Overview, error) {
	return call[Overview](ctx, c, http.MethodGet, "/overview", nil)
}

// Alerts are what the hub alerts of.
func (c *Client) Alerts(ctx context.Context) (*Alerts, error) {
	return call[Alerts](ctx, c, http.MethodGet, "/alerts", nil)
}

// Certificates are those of the hub and of its agents.
func (c *Client) Certificates(ctx context.Context) (*Certificates, error) {
	return call[Certificates](ctx, c, http.MethodGet, "/certificates", nil)
}

// ApplicationClusters is the application on each of its clusters.
func (c *Client) ApplicationClusters(ctx context.Context, project, app string) (*ApplicationClusters, error) {
	return call[ApplicationClusters](ctx, c, http.MethodGet, application(project, app, "clusters", ""), nil)
}

// Explain is the chain from source to health; cluster may be empty.
func (c *Client) Explain(ctx context.Context, project, app, cluster string) (*explain.Chain, error) {
	return call[explain.Chain](ctx, c, http.MethodGet, application(project, app, "explain", cluster), nil)
}

// Objects is the tree of delivered objects; cluster may be empty.
func (c *Client) Objects(ctx context.Context, project, app, cluster string) (*ApplicationObjects, error) {
	return call[ApplicationObjects](ctx, c, http.MethodGet, application(project, app, "objects", cluster), nil)
}

// Diff compares what is asked with what is live; cluster may be empty.
func (c *Client) Diff(ctx context.Context, project, app, cluster string) (*ApplicationDiff, error) {
	return call[ApplicationDiff](ctx, c, http.MethodGet, application(project, app, "diff", cluster), nil)
}

// Sync has the clusters' agents apply everything once more, now; cluster may be empty.
func (c *Client) Sync(ctx context.Context, project, app, cluster string) (*ApplicationSync, error) {
	return call[ApplicationSync](ctx, c, http.MethodPost, application(project, app, "sync", cluster), nil)
}

// Force is Sync, and what cannot be changed is deleted and made anew.
func (c *Client) Force(ctx context.Context, project, app, cluster string) (*ApplicationSync, error) {
	path := application(project, app, "sync", cluster)
	if cluster == "" {
		return call[ApplicationSync](ctx, c, http.MethodPost, path+"?force=true", nil)
	}
	return call[ApplicationSync](ctx, c, http.MethodPost, path+"&force=true", nil)
}

// Events is what happened to the application, newest last.
func (c *Client) Events(ctx context.Context, project, app string) (*ApplicationEvents, error) {
	return call[ApplicationEvents](ctx, c, http.MethodGet, application(project, app, "events", ""), nil)
}

// Report is everything the hub holds from one cluster.
func (c *Client) Report(ctx context.Context, cluster string) (*ClusterReport, error) {
	return call[ClusterReport](ctx, c, http.MethodGet, "/clusters/"+url.PathEscape(cluster)+"/report", nil)
}

// Memory is what the cluster's agent runs that a hub of another history asked for.
func (c *Client) Memory(ctx context.Context, cluster string) (*recovery.Memory, error) {
	return call[recovery.Memory](ctx, c, http.MethodGet, "/clusters/"+url.PathEscape(cluster)+"/memory", nil)
}

// Recollect stores a content that the cluster's agent still has.
func (c *Client) Recollect(ctx context.Context, cluster string, r recovery.Request) (*Receipt, error) {
	return call[Receipt](ctx, c, http.MethodPost, "/clusters/"+url.PathEscape(cluster)+"/memory", r)
}

// Reach asks the cluster's own API for its version, through the hub.
func (c *Client) Reach(ctx context.Context, cluster string) error {
	_, err := call[struct{}](ctx, c, http.MethodGet, "/clusters/"+url.PathEscape(cluster)+"/proxy/version", nil)
	return err
}

// Upload stores content in a project.
func (c *Client) Upload(ctx context.Context, project string, u Upload) (*Receipt, error) {
	return call[Receipt](ctx, c, http.MethodPost, "/namespaces/"+url.PathEscape(project)+"/contents", u)
}

// Join asks for a token for one cluster.
func (c *Client) Join(ctx context.Context, cluster string, r JoinRequest) (*JoinTicket, error) {
	return call[JoinTicket](ctx, c, http.MethodPost, "/clusters/"+url.PathEscape(cluster)+"/join", r)
}

// Audit is a page of the audit log; query says which records, and from where on.
func (c *Client) Audit(ctx context.Context, query url.Values) (*audit.Page, error) {
	return call[audit.Page](ctx, c, http.MethodGet, "/audit/records?"+query.Encode(), nil)
}

// VerifyAudit has the hub verify its audit log.
func (c *Client) VerifyAudit(ctx context.Context) (*audit.Verdict, error) {
	return call[audit.Verdict](ctx, c, http.MethodGet, "/audit/verification", nil)
}

func application(project, app, what, cluster string) string {
	path := "/namespaces/" + url.PathEscape(project) + "/applications/" + url.PathEscape(app) + "/" + what
	if cluster != "" {
		path += "?cluster=" + url.QueryEscape(cluster)
	}
	return path
}

func call[T any](ctx context.Context, c *Client, method, path string, body any) (*T, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	resp, err := c.ask(ctx, method, c.base.JoinPath(Path).String()+path, data)
	if err != nil {
		return nil, fmt.Errorf("ask the hub: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return nil, refusal(resp)
	}
	out := new(T)
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return nil, fmt.Errorf("read the hub's answer: %w", err)
	}
	return out, nil
}

// patience is for how long a hub may say that it is about to answer: one that
// has just begun to lead does for a second or two.
const patience = 10 * time.Second

// aggregation is for how long a Kubernetes API server in front of the hub may say
// that nothing serves the fleet API: it asks ever more rarely while nobody
// answers, at least every 30 seconds (kube-aggregator's availability controller).
const aggregation = 45 * time.Second

// ask asks again while the hub wishes for it, or an API server in front of it has
// not found it yet. Every call may be made twice: uploads go by digest, and a
// second ticket takes the place of the first.
func (c *Client) ask(ctx context.Context, method, target string, body []byte) (*http.Response, error) {
	begun := time.Now()
	for {
		req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, err
		}
		pause, limit := later(resp)
		if limit == 0 || time.Since(begun)+pause > limit {
			return resp, nil
		}
		resp.Body.Close()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// unserved is how kube-aggregator says that it knows of nobody who serves an API.
const unserved = "service unavailable\n"

// later is when to ask again and for how long in all; 0 if resp is an answer, whose
// body can still be read. A hub wishes for it by Retry-After, in seconds (RFC 9110).
func later(resp *http.Response) (pause, limit time.Duration) {
	if resp.StatusCode != http.StatusServiceUnavailable {
		return 0, 0
	}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		return time.Duration(max(seconds, 1)) * time.Second, patience
	}
	start := make([]byte, len(unserved)+1)
	n, _ := io.ReadFull(resp.Body, start)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start[:n]), resp.Body), resp.Body}
	if string(start[:n]) == unserved {
		return time.Second, aggregation
	}
	return 0, 0
}

// refusal keeps the hub's own Status, so that apierrors.IsForbidden and its
// siblings work on it.
func refusal(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	status := metav1.Status{}
	if json.Unmarshal(data, &status) == nil && status.Kind == "Status" {
		return apierrors.FromObject(&status)
	}
	return fmt.Errorf("the hub answered %s: %s", resp.Status, bytes.TrimSpace(data))
}
