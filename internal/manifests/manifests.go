// Package manifests makes the manifests of what was fetched for an application.
//
// It decides for which clusters a source is rendered: one render for each class
// of those that the application is placed on, all of which have to come out
// alike, since an application delivers one content. It leaves rendering to
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
	"strings"

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

// Render renders a fetched folder. A *source.Failure is for its owner to mend.
func (r *Renderer) Render(ctx context.Context, app *v1alpha1.Application, s source.Snapshot) (Manifests, error) {
	namespace, clusters, err := r.clusters(ctx, app)
	if err != nil {
		return Manifests{}, err
	}
	in, err := inputs(app, s, namespace)
	if err != nil {
		return Manifests{}, err
	}
	groups := r.group(app, clusters)
	cache := class.NewCache[render.Output](1)
	var first render.Output
	for i, g := range groups {
		in.Cluster = g.of
		out, err := cache.Get("", g.of, func() (render.Output, []class.Query, error) {
			out, err := r.Workers.Render(ctx, s.Dir, in)
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
		case i == 0:
			first = out
		case !same(first.Files, out.Files):
			return Manifests{}, source.Fail(ClassesDiffer, "%s", differ(groups[0], g, first, out))
		}
	}
	m := Manifests{Files: first.Files, Chart: name(first), Warnings: first.Warnings, Renders: cache.Stats().Renders}
	if len(first.Queries) > 0 {
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
	return fleet(r.group(app, clusters)), nil
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
		in.Helm.ValuesFiles, in.Helm.SkipHooks, in.Helm.SkipCRDs = h.ValuesFiles, h.SkipHooks, h.SkipCRDs
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

func same(a, b []content.File) bool { return sum(a) == sum(b) }

func sum(files []content.File) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d ", f.Name, len(f.Data))
		h.Write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// differ says between which clusters, and what the templates asked them.
func differ(one, other group, a, b render.Output) string {
	answers := map[[2]string]string{}
	for _, q := range a.Queries {
		answers[[2]string{q.What, q.Arg}] = q.Answer
	}
	var asked []string
	for _, q := range b.Queries {
		if before, ok := answers[[2]string{q.What, q.Arg}]; ok && before != q.Answer && len(asked) < 5 && q.What != class.AskAll {
			asked = append(asked, strings.TrimSpace(fmt.Sprintf("%s %s: %s and %s", q.What, q.Arg, before, q.Answer)))
		}
	}
	return fmt.Sprintf("the chart renders to one thing for %s (Kubernetes %s) and to another for %s (Kubernetes %s), by what its templates ask (%s): make it an application for each kind of cluster, or set apiVersions or values so that it does not ask",
		one.first, one.of.KubeVersion, other.first, other.of.KubeVersion, strings.Join(asked, "; "))
}

// project reads an application's project and where its objects go.
func (r *Renderer) project(ctx context.Context, app *v1alpha1.Application) (*v1alpha1.Project, string, error) {
	project := &v1alpha1.Project{}
	if err := r.Client.Get(ctx, types.NamespacedName{Name: app.Namespace}, project); err != nil {
		return nil, "", fmt.Errorf("read project %s: %w", app.Namespace, err)
	}
	return project, desired.MemberNamespace(app, project), nil
}
