package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/gateway"
	"atoll.dev/atoll/internal/recovery"
)

// memory is what a cluster's agent runs by the word of another hub's history. It
// is shown to people; the hub itself follows none of it.
func (s *server) memory(r *http.Request) (any, error) {
	c, err := s.cluster(r.Context(), r.PathValue("cluster"))
	if err != nil {
		return nil, err
	}
	data, err := s.ask(r.Context(), c.Name, "/memory")
	if err != nil {
		return nil, s.unanswered(c, err)
	}
	var m recovery.Memory
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, s.unanswered(c, err)
	}
	m.Cluster, m.AsOf = c.Name, s.Now() // neither by the agent's word
	return m, nil
}

func (s *server) unanswered(c *v1alpha1.Cluster, err error) error {
	if errors.Is(err, gateway.ErrNotConnected) {
		return apierrors.NewServiceUnavailable(s.unlinked(c))
	}
	return apierrors.NewServiceUnavailable(fmt.Sprintf("cluster %s does not tell what it runs: %v", c.Name, err))
}

// Bounds of a content that an agent gives back: what a hub would have sent it.
const (
	contentTimeout = time.Minute
	maxContent     = 80 << 20
)

// recollect makes a content durable that a cluster's agent still has.
func (s *server) recollect(r *http.Request) (any, error) {
	c, err := s.cluster(r.Context(), r.PathValue("cluster"))
	if err != nil {
		return nil, err
	}
	var req recovery.Request
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 64<<10)).Decode(&req); err != nil {
		return nil, badRequest("the request cannot be read: %v", err)
	}
	if req.Project == "" || req.Content == "" {
		return nil, badRequest("give a project and the digest of a content")
	}
	// Live: it was made a moment ago.
	if err := s.Live.Get(r.Context(), types.NamespacedName{Name: req.Project}, &v1alpha1.Project{}); err != nil {
		return nil, err
	}
	path := "/memory/" + url.PathEscape(req.Project) + "/contents/" + url.PathEscape(string(req.Content))
	data, err := s.askFor(r.Context(), call{method: http.MethodGet, cluster: c.Name, path: path, within: bounds{timeout: contentTimeout, bytes: maxContent}})
	if err != nil {
		return nil, s.unanswered(c, err)
	}
	stored, err := s.Depot.Recover(r.Context(), req.Project, req.Content, data)
	if refused, ok := errors.AsType[*depot.Refused](err); ok {
		return nil, badRequest("cluster %s: %v", c.Name, refused)
	}
	if err != nil {
		return nil, err
	}
	return receipt(stored), nil
}

func receipt(c depot.Content) fleet.Receipt {
	return fleet.Receipt{Digest: string(c.Digest), Objects: c.Objects, Bytes: c.Bytes, Secrets: c.Secrets}
}
