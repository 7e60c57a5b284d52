package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/trust"
)

// upload makes manifests durable in a project and returns their digest.
func (s *server) upload(r *http.Request) (any, error) {
	who, err := caller(r)
	if err != nil {
		return nil, err
	}
	project := &v1alpha1.Project{}
	// Live: a person uploads right after making the project.
	if err := s.Live.Get(r.Context(), types.NamespacedName{Name: r.PathValue("project")}, project); err != nil {
		return nil, err
	}
	if project, err = s.bound(r.Context(), project); err != nil {
		return nil, err
	}
	var u fleet.Upload
	body := http.MaxBytesReader(nil, r.Body, fleet.MaxUpload*4/3+1<<20) // base64 in JSON
	if err := json.NewDecoder(body).Decode(&u); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, apierrors.NewRequestEntityTooLargeError("the manifests have more than 64 MiB: split the application")
		}
		return nil, badRequest("the upload cannot be read: %v", err)
	}
	if len(u.Files) == 0 {
		return nil, badRequest("the upload holds no files")
	}
	files := make([]content.File, len(u.Files))
	for i, f := range u.Files {
		files[i] = content.File{Name: f.Name, Data: f.Data}
	}
	c, violations, err := s.Depot.Store(r.Context(), project, files)
	var refused *depot.Refused
	switch {
	case errors.As(err, &refused):
		return nil, badRequest("%v", refused)
	case err != nil:
		return nil, err
	case len(violations) > 0:
		return fleet.Receipt{Violations: violations}, nil
	}
	s.Depot.UploadedBy(project.Name, c.Digest, who.GetName())
	return receipt(c), nil
}

// bound leaves the project what no other claims more exactly.
func (s *server) bound(ctx context.Context, project *v1alpha1.Project) (*v1alpha1.Project, error) {
	var projects v1alpha1.ProjectList
	var clusters v1alpha1.ClusterList
	if err := errors.Join(s.Client.List(ctx, &projects), s.Client.List(ctx, &clusters)); err != nil {
		return nil, fmt.Errorf("read what other projects claim: %w", err)
	}
	return assign.Bound(project, projects.Items, clusters.Items), nil
}

// join makes a token for one cluster; an older one stops counting.
func (s *server) join(r *http.Request) (any, error) {
	c := &v1alpha1.Cluster{}
	// Live: `atoll join` asks right after making the Cluster.
	if err := s.Live.Get(r.Context(), types.NamespacedName{Name: r.PathValue("cluster")}, c); err != nil {
		return nil, err
	}
	if c.Spec.Direct != nil {
		return nil, badRequest("cluster %s is reached directly by kubeconfig: it has no agent to join", c.Name)
	}
	if id := c.Status.Identity; id != nil {
		return nil, apierrors.NewConflict(resource("clusters"), c.Name,
			errors.New("an agent has joined already; to replace it: atoll remove "+c.Name+", then register it again"))
	}
	token, record := trust.NewToken(c.Name, s.Now())
	if err := s.Tokens.SaveToken(r.Context(), record); err != nil {
		return nil, err
	}
	roots, err := s.Roots()
	if err != nil {
		return nil, err
	}
	return fleet.JoinTicket{Cluster: c.Name, Token: token, Expires: record.Expires, Address: s.Address(), Roots: string(roots)}, nil
}
