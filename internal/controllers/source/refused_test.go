package source

import (
	"context"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/manifests"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/valuesfrom"
)

// still is a source that never changes.
type still struct{ source.Origin }

func (s still) Open(v1alpha1.Source, *source.Secret) (source.Origin, error) { return s, nil }

func (still) Find(context.Context, time.Time) (source.Found, error) {
	return source.Found{ID: "sha1:1", Ref: "refs/heads/main"}, nil
}

func (still) Fetch(context.Context, source.Found) (source.Snapshot, func(), error) {
	return source.Snapshot{}, func() {}, nil
}

// picky refuses whatever it renders.
type picky struct {
	fleet   string
	renders int
}

func (p *picky) Fleet(context.Context, *v1alpha1.Application) (string, error) { return p.fleet, nil }

func (p *picky) Render(context.Context, *v1alpha1.Application, source.Snapshot, valuesfrom.Values) (manifests.Manifests, error) {
	p.renders++
	return manifests.Manifests{}, source.Refuse(manifests.RenderRefused, "cluster old: it is too old")
}

// A chart that one cluster makes fail is tried again when that cluster is gone,
// and not only with another commit.
func TestARefusalIsJudgedAgainWhenTheClustersAreOthers(t *testing.T) {
	p, app, m := &picky{fleet: "with old"}, following(0), &memory{again: true}
	r := reconciler()
	r.Render, r.Sources = p, map[source.Kind]Opener{source.Git: still{}}
	look := func(want int) {
		t.Helper()
		o, err := r.look(t.Context(), app, m, now)
		if err != nil || o.condition.Reason != manifests.RenderRefused || p.renders != want {
			t.Errorf("%d renders, not %d: %+v, %v", p.renders, want, o, err)
		}
		app.Status.Source = &o.fetched
	}
	look(1)
	look(1)
	p.fleet = "without"
	look(2)
	look(2)
}
