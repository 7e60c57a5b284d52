package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

func keyOf(app *v1alpha1.Application) desired.Key {
	return desired.Key{Project: app.Namespace, Application: app.Name}
}

// state is one application on one cluster as of now.
func (s *server) state(app *v1alpha1.Application, cluster string) fleet.ClusterState {
	key := keyOf(app)
	_, digest, _ := s.Book.Get(cluster, key)
	m := s.Fleet.Member(cluster, key, digest, s.Now(), s.Gateway.Heartbeat)
	out := fleet.ClusterState{Cluster: cluster, Connection: m.Connection, AsOf: m.Reported, Current: m.Current(), State: m.State}
	out.State.Key, out.State.Sync, out.State.Health = key, m.Sync(), m.Health()
	if m.Reported.IsZero() {
		out.State.Sync = report.Progressing
	}
	if why := m.Why(); why != "" {
		out.State.Message = why
	}
	return out
}

func (s *server) applicationClusters(r *http.Request) (any, error) {
	app, err := s.application(r)
	if err != nil {
		return nil, err
	}
	d, err := s.decision(r.Context(), app)
	if err != nil {
		return nil, err
	}
	out := fleet.ApplicationClusters{Project: app.Namespace, Application: app.Name, Revision: app.Status.Revision, Clusters: []fleet.ClusterState{}}
	if app.Spec.Placement != nil && d.Why != nil {
		held := assign.HeldLeaving(app, d.Chosen, func(c string) bool { return d.Why[c].Reason != placement.NotFound })
		out.Leaving, out.LeavingDigest = held.Clusters, held.Digest
	}
	for _, name := range app.Status.Clusters {
		c := s.state(app, name)
		c.Verdict = d.Why[name]
		out.Clusters = append(out.Clusters, c)
	}
	for _, name := range app.Status.Withdrawing {
		c := s.state(app, name)
		c.Verdict, c.Withdrawing = d.Why[name], true
		out.Clusters = append(out.Clusters, c)
	}
	return out, nil
}

// decision is why each cluster is chosen or not, by the hub's own function.
func (s *server) decision(ctx context.Context, app *v1alpha1.Application) (placement.Decision, error) {
	if app.Spec.Placement == nil {
		return placement.Decision{}, nil
	}
	var clusters v1alpha1.ClusterList
	if err := s.Client.List(ctx, &clusters); err != nil {
		return placement.Decision{}, err
	}
	project := &v1alpha1.Project{}
	if err := s.Client.Get(ctx, client.ObjectKey{Name: app.Namespace}, project); err != nil {
		return placement.Decision{}, client.IgnoreNotFound(err)
	}
	var named *v1alpha1.PlacementRule
	if ref := app.Spec.Placement.Ref; ref != "" {
		p := &v1alpha1.Placement{}
		if err := s.Client.Get(ctx, client.ObjectKey{Name: ref}, p); client.IgnoreNotFound(err) != nil {
			return placement.Decision{}, err
		} else if err == nil {
			named = &p.Spec
		}
	}
	rule, err := placement.Effective(*app.Spec.Placement, named)
	if err != nil {
		return placement.Decision{}, nil // the condition Accepted says it
	}
	d, err := placement.Decide(placement.Input{Rule: rule, Project: project, Clusters: clusters.Items, Previous: app.Status.Clusters})
	if err != nil {
		return placement.Decision{}, nil
	}
	return d, nil
}

func (s *server) report(r *http.Request) (any, error) {
	c, err := s.cluster(r.Context(), r.PathValue("cluster"))
	if err != nil {
		return nil, err
	}
	seen := s.Fleet.Get(c.Name)
	out := fleet.ClusterReport{Cluster: c.Name, Connection: s.Gateway.Connection(c.Name), AsOf: seen.Reported, States: []report.State{}}
	for _, st := range seen.States() {
		out.States = append(out.States, st)
	}
	slices.SortFunc(out.States, report.Worse)
	return out, nil
}

// answer is one cluster's part of a fleet-wide read.
type answer[T any] struct {
	cluster string
	value   T
	silent  string
}

// askAll asks the application's clusters at once, by the caller's method, each with
// its own time-out, so that a slow one delays nobody beyond that.
func askAll[T any](s *server, r *http.Request, what string) (answers []T, silent []fleet.Silence, err error) {
	app, err := s.application(r)
	if err != nil {
		return nil, nil, err
	}
	clusters := app.Status.Clusters
	if only := r.URL.Query().Get("cluster"); only != "" {
		if !slices.Contains(clusters, only) {
			return nil, nil, badRequest("application %s is not placed on cluster %q", app.Name, only)
		}
		clusters = []string{only}
	}
	path := "/applications/" + url.PathEscape(app.Namespace) + "/" + url.PathEscape(app.Name) + "/" + what
	results := make([]answer[T], len(clusters))
	var wg sync.WaitGroup
	for i, c := range clusters {
		wg.Go(func() { results[i] = askOne[T](r.Context(), s, r.Method, c, path) })
	}
	wg.Wait()
	for _, a := range results {
		if a.silent != "" {
			silent = append(silent, fleet.Silence{Cluster: a.cluster, Reason: a.silent})
			continue
		}
		answers = append(answers, a.value)
	}
	return answers, silent, nil
}

func askOne[T any](ctx context.Context, s *server, method, cluster, path string) answer[T] {
	a := answer[T]{cluster: cluster}
	data, err := s.askFor(ctx, call{method: method, cluster: cluster, path: path, within: brief})
	if err == nil {
		err = json.Unmarshal(data, &a.value)
	}
	if err != nil {
		a.silent = err.Error()
	}
	return a
}

func (s *server) objects(r *http.Request) (any, error) {
	answers, silent, err := askAll[fleet.ClusterObjects](s, r, "objects")
	for i := range answers {
		answers[i].AsOf = s.Now() // not by the clock of each agent
	}
	return fleet.ApplicationObjects{Clusters: answers, Silent: silent}, err
}

func (s *server) diff(r *http.Request) (any, error) {
	answers, silent, err := askAll[fleet.ClusterDiff](s, r, "diff")
	for i := range answers {
		answers[i].AsOf = s.Now()
	}
	return fleet.ApplicationDiff{Clusters: answers, Silent: silent}, err
}
