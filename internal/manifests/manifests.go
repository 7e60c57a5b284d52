// Package manifests makes the manifests of what was fetched for an application.
//
// It decides for which clusters a source is rendered: one render for each class
// of those that the application is placed on. It leaves rendering to
// internal/render and its workers, where the clusters are to
// internal/placement, and what becomes of the manifests to its callers.
package manifests

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/render/helm"
	"atoll.dev/atoll/internal/render/kustomize"
	"atoll.dev/atoll/internal/render/worker"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/valuesfrom"
)

// Workers render one folder; worker.Pool does.
type Workers interface {
	Render(ctx context.Context, dir string, in render.Inputs) (render.Output, error)
}

// Renderer renders for the clusters that the hub knows.
type Renderer struct {
	Client  client.Reader
	Workers Workers
	// Kubernetes is the version that an application without clusters is
	// rendered for.
	Kubernetes string
}

// Manifests are what a source was rendered to.
type Manifests struct {
	Files []content.File
	// Variants are what it was rendered to for each class, where that is not the
	// same; Files are then the first one's.
	Variants []Variant
	// Fleet names what was known of the clusters when templates asked for it;
	// empty when none did, and the manifests are good for any cluster.
	Fleet string
	// Renders is how many it took for all clusters.
	Renders int
	// Chart is "web 1.2.3", for people, with the version of what is in it.
	Chart string
	// Warnings are what was left out, and what will be missed.
	Warnings []string
}

// Reasons why something fetched is not delivered.
const (
	RenderRefused = "RenderRefused"
	ClassesDiffer = "ClassesDiffer"
	ClustersUnfit = "ClustersUnfit"
)

// Render renders a fetched folder, a chart with these values under its own. A
// *source.Failure is for its owner to mend; that it tells nothing of the values is
// left to the caller.
func (r *Renderer) Render(ctx context.Context, app *v1alpha1.Application, s source.Snapshot, from valuesfrom.Values) (Manifests, error) {
	namespace, clusters, err := r.clusters(ctx, app)
	if err != nil {
		return Manifests{}, err
	}
	in, err := inputs(app, s, namespace)
	if err != nil {
		return Manifests{}, err
	}
	groups, err := r.group(app, clusters)
	if err != nil {
		return Manifests{}, err
	}
	cache := class.NewCache[render.Output](len(groups))
	var first render.Output
	var all []Variant
	values := [][]byte{from.JSON, in.Helm.Values}
	for i, g := range groups {
		in.Cluster = g.of
		if in.Helm.Values, err = valuesFor(values, app.Spec.Overrides, g.valued); err != nil {
			return Manifests{}, err
		}
		out, err := cache.Get(fmt.Sprint(g.valued), g.of, func() (render.Output, []class.Query, error) {
			out, err := r.Workers.Render(ctx, s.Dir, in)
			if err == nil {
				all = append(all, variant(g.valued, out))
			}
			return out, out.Queries, err
		})
		var fault *worker.Fault
		var unfit *class.Unfit
		switch {
		case errors.As(err, &fault) || ctx.Err() != nil:
			return Manifests{}, fmt.Errorf("render application %s/%s: %w", app.Namespace, app.Name, err)
		case errors.As(err, &unfit):
			return Manifests{}, source.Fail(ClustersUnfit, "%s: %w", g.first, err)
		case err != nil:
			return Manifests{}, source.Refuse(RenderRefused, "%w", err)
		case len(g.valued) > 0 && out.Chart == "":
			return Manifests{}, source.Refuse(RenderRefused, "spec.overrides[%d].values: they are a chart's, and there is none", g.valued[0])
		case i == 0:
			first = out
		}
	}
	m := Manifests{Files: first.Files, Chart: name(first), Warnings: first.Warnings, Renders: cache.Stats().Renders}
	valued := hasValues(app.Spec.Overrides)
	if m.Variants, err = several(all, valued); err != nil {
		return Manifests{}, err
	}
	if valued || slices.ContainsFunc(all, func(v Variant) bool { return len(v.Asked) > 0 }) {
		m.Fleet = fleet(groups)
	}
	return m, nil
}

// Fleet is what Manifests.Fleet would be now.
func (r *Renderer) Fleet(ctx context.Context, app *v1alpha1.Application) (string, error) {
	_, clusters, err := r.clusters(ctx, app)
	if err != nil {
		return "", err
	}
	groups, err := r.group(app, clusters)
	return fleet(groups), err
}

// inputs says how a snapshot is rendered, but for which cluster.
func inputs(app *v1alpha1.Application, s source.Snapshot, namespace string) (render.Inputs, error) {
	in := render.Inputs{Path: s.Path, Helm: helm.Options{Release: app.Name, Namespace: namespace}}
	h, k := app.Spec.Source.Helm, app.Spec.Source.Kustomize
	switch {
	case h != nil && k != nil:
		return in, source.Refuse(RenderRefused, "spec.source has both helm and kustomize: keep the one that %s is", path.Clean(s.Path))
	case h != nil:
		in.Type = render.Helm
		in.Helm.ValuesFiles, in.Helm.SkipHooks, in.Helm.Tests, in.Helm.SkipCRDs = h.ValuesFiles, h.SkipHooks, h.Tests, h.SkipCRDs
		if h.ReleaseName != "" {
			in.Helm.Release = h.ReleaseName
		}
		if h.Values != nil {
			in.Helm.Values = h.Values.Raw
		}
	case k != nil:
		in.Type = render.Kustomize
		in.Kustomize = kustomize.Options{NamePrefix: k.NamePrefix, NameSuffix: k.NameSuffix}
		for _, i := range k.Images {
			in.Kustomize.Images = append(in.Kustomize.Images, kustomize.Image(i))
		}
	}
	return in, nil
}

func name(out render.Output) string {
	if out.Chart == "" {
		return ""
	}
	text := out.Chart + " " + out.Version
	if out.AppVersion != "" {
		text += " (" + out.AppVersion + ")"
	}
	return text
}

func sum(files []content.File) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d ", f.Name, len(f.Data))
		h.Write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// project reads an application's project and where its objects go.
func (r *Renderer) project(ctx context.Context, app *v1alpha1.Application) (*v1alpha1.Project, string, error) {
	project := &v1alpha1.Project{}
	if err := r.Client.Get(ctx, types.NamespacedName{Name: app.Namespace}, project); err != nil {
		return nil, "", fmt.Errorf("read project %s: %w", app.Namespace, err)
	}
	return project, desired.MemberNamespace(app, project), nil
}
