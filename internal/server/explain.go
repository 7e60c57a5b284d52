package server

import (
	"context"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/explain"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/rollout"
)

// explain gathers the facts; what they mean is internal/explain's.
func (s *server) explain(r *http.Request) (any, error) {
	app, err := s.application(r)
	if err != nil {
		return nil, err
	}
	f := explain.Facts{Now: s.Now(), Application: app, Only: r.URL.Query().Get("cluster")}
	if f.Project, err = s.project(r.Context(), app.Namespace); err != nil {
		return nil, err
	}
	all, err := s.Freeze(r.Context())
	if err != nil {
		return nil, err
	}
	f.Frozen = rollout.FrozenBy(all, f.Project, app, s.Now())
	if err := s.gatherRevision(r.Context(), &f); err != nil {
		return nil, err
	}
	if f.Run, err = s.run(r.Context(), app); err != nil {
		return nil, err
	}
	if f.Decision, err = s.decision(r.Context(), app); err != nil {
		return nil, err
	}
	names := slices.Concat(app.Status.Clusters, app.Status.Withdrawing)
	for _, name := range names {
		c, err := s.explainCluster(r.Context(), app, name)
		if err != nil {
			return nil, err
		}
		f.Clusters = append(f.Clusters, c)
	}
	return explain.Explain(f), nil
}

func (s *server) project(ctx context.Context, name string) (*v1alpha1.Project, error) {
	p := &v1alpha1.Project{}
	if err := s.Client.Get(ctx, client.ObjectKey{Name: name}, p); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	return p, nil
}

func (s *server) run(ctx context.Context, app *v1alpha1.Application) (*v1alpha1.RolloutRun, error) {
	if app.Status.Rollout == "" {
		return nil, nil
	}
	run := &v1alpha1.RolloutRun{}
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: app.Status.Rollout}, run); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return run, nil
}

func (s *server) gatherRevision(ctx context.Context, f *explain.Facts) error {
	app := f.Application
	if app.Status.Revision == "" {
		return nil
	}
	revision := &v1alpha1.Revision{}
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: app.Status.Revision}, revision); err != nil {
		return client.IgnoreNotFound(err)
	}
	f.Revision = revision
	if _, err := s.Depot.Content(ctx, app.Namespace, depot.Recorded(revision).Base()); err != nil {
		f.StoreErr = err.Error()
	} else {
		f.Stored = true
	}
	return nil
}

func (s *server) explainCluster(ctx context.Context, app *v1alpha1.Application, name string) (explain.Cluster, error) {
	entry, digest, ok := s.Book.Get(name, keyOf(app))
	out := explain.Cluster{Member: s.Fleet.Member(name, keyOf(app), digest, s.Now(), s.Gateway.Heartbeat)}
	if ok {
		out.Entry = &entry
	}
	for _, other := range entry.After {
		key := keyOf(app)
		key.Application = other
		if e, _, runs := s.Book.Get(name, key); !runs || e.Withdrawn {
			out.Elsewhere = append(out.Elsewhere, other)
		}
	}
	seen := s.Fleet.Get(name)
	out.Confirmed = seen.Desired != "" && seen.Desired == s.Book.Page(name).Digest()
	out.Heard = seen.Heard
	if name == placement.Hub { // which everything is delivered by
		out.Accepted, out.Joined = true, true
		return out, nil
	}
	c, err := s.cluster(ctx, name)
	switch {
	case apierrors.IsNotFound(err):
		return out, nil
	case err != nil:
		return out, err
	}
	if out.Heard.IsZero() && c.Status.Connection.LastContact != nil {
		out.Heard = c.Status.Connection.LastContact.Time
	}
	out.Accepted, out.Joined = c.Confirmed(), c.Status.Identity != nil
	out.Refusal = s.Gateway.Refusal(name)
	return out, nil
}
