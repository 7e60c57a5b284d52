package manifests

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/helm"
	"atoll.dev/atoll/internal/source"
)

func TestWhatIsSaidOfHooksTestsAndDefinitionsReachesTheRender(t *testing.T) {
	app := &v1alpha1.Application{}
	app.Name = "web"
	for name, tc := range map[string]struct {
		said v1alpha1.HelmOptions
		want helm.Options
	}{
		"nothing":     {v1alpha1.HelmOptions{}, helm.Options{}},
		"hooks":       {v1alpha1.HelmOptions{SkipHooks: true}, helm.Options{SkipHooks: true}},
		"tests":       {v1alpha1.HelmOptions{Tests: true}, helm.Options{Tests: true}},
		"definitions": {v1alpha1.HelmOptions{SkipCRDs: true}, helm.Options{SkipCRDs: true}},
	} {
		app.Spec.Source.Helm = &tc.said
		tc.want.Release, tc.want.Namespace = "web", "shop"
		got, err := inputs(app, source.Snapshot{Path: "."}, "shop")
		if diff := cmp.Diff(render.Inputs{Type: render.Helm, Path: ".", Helm: tc.want}, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}
