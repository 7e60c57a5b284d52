package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/join"
)

// requestTimeout bounds one request; the API server's own bound is 60 s.
const requestTimeout = 65 * time.Second

// clients are the connections to the member: the agent's own account and one
// impersonated account per project, all over the same transport.
type clients struct {
	cfg      *rest.Config
	own      dynamic.Interface
	metadata metadata.Interface
	discover *discovery.DiscoveryClient
	raw      rest.Interface

	mu       sync.Mutex
	projects map[string]dynamic.Interface
}

func newClients(cfg *rest.Config, wrap func(http.RoundTripper) http.RoundTripper) (*clients, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // the workers bound what runs at once; waiting here only adds latency
	cfg.UserAgent = "atoll-agent"
	cfg.WarningHandler = rest.NoWarnings{}
	cfg.Wrap(wrap)
	c := &clients{cfg: cfg, projects: map[string]dynamic.Interface{}}
	http, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the member: %w", err)
	}
	var errs [4]error
	c.own, errs[0] = dynamic.NewForConfigAndClient(cfg, http)
	c.metadata, errs[1] = metadata.NewForConfigAndClient(metadata.ConfigFor(cfg), http)
	c.discover, errs[2] = discovery.NewDiscoveryClientForConfigAndClient(cfg, http)
	c.raw, errs[3] = rest.UnversionedRESTClientForConfigAndClient(dynamic.ConfigFor(cfg), http)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("connect to the member: %w", err)
	}
	return c, nil
}

// ServiceAccount is the name of a project's account in the system namespace.
func ServiceAccount(project string) string { return join.ProjectPrefix + project }

// as is the client of a project, or the agent's own for "".
func (c *clients) as(project string) (dynamic.Interface, error) {
	if project == "" {
		return c.own, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, ok := c.projects[project]; ok {
		return client, nil
	}
	cfg := rest.CopyConfig(c.cfg)
	cfg.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + systemNamespace + ":" + ServiceAccount(project),
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("act as project %s: %w", project, err)
	}
	c.projects[project] = client
	return client, nil
}

// target is where one object lives and as whom it is written.
type target struct {
	kind    kind
	id      ID
	project string // "" is the agent's own account
}

func (c *clients) resource(t target) (dynamic.ResourceInterface, error) {
	client, err := c.as(t.project)
	if err != nil {
		return nil, err
	}
	if t.kind.namespaced {
		return client.Resource(t.kind.gvr).Namespace(t.id.Namespace), nil
	}
	return client.Resource(t.kind.gvr), nil
}

// apply is one server-side apply.
func (c *clients) apply(ctx context.Context, t target, body []byte, manager string, force bool) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := c.resource(t)
	if err != nil {
		return nil, err
	}
	return r.Patch(ctx, t.id.Name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: manager, Force: &force})
}

// jsonPatch is an RFC 6902 patch.
func (c *clients) jsonPatch(ctx context.Context, t target, patch []byte, manager string) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := c.resource(t)
	if err != nil {
		return nil, err
	}
	return r.Patch(ctx, t.id.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: manager})
}

// get reads with the agent's own account, which may read what it watches.
func (c *clients) get(ctx context.Context, t target) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	t.project = ""
	r, err := c.resource(t)
	if err != nil {
		return nil, err
	}
	return r.Get(ctx, t.id.Name, metav1.GetOptions{})
}

// delete removes just the object with that UID.
func (c *clients) delete(ctx context.Context, t target, uid types.UID) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := c.resource(t)
	if err != nil {
		return err
	}
	background := metav1.DeletePropagationBackground
	return r.Delete(ctx, t.id.Name, metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid},
		PropagationPolicy: &background,
	})
}

// ensure applies one of the agent's own objects.
func (c *clients) ensure(ctx context.Context, t target, obj *unstructured.Unstructured) error {
	body, err := obj.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode %s: %w", t.id, err)
	}
	if _, err := c.apply(ctx, t, body, agentManager, true); err != nil {
		return fmt.Errorf("set up %s: %w", t.id, err)
	}
	return nil
}

// unreachable tells an outage from an answer.
func unreachable(err error) bool {
	var status apierrors.APIStatus
	return err != nil && !errors.As(err, &status)
}
