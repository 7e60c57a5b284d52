package realnode_test

import (
	"io"
	"path/filepath"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"

	"atoll.dev/atoll/internal/release"
)

// The charts are of this version, and so are the images that they name.
const chartVersion = "v1.0.0"

// helm installs a chart of ours as `helm install` would, in the same order.
func (b *bed) helm(chart, namespace string, values map[string]any) {
	b.t.Helper()
	out := b.t.TempDir()
	charts := release.Charts{Source: "../../charts", Out: out, Version: chartVersion, Repository: repository}
	if err := charts.Build(io.Discard, io.Discard); err != nil {
		b.t.Fatal(err)
	}
	c, err := loader.LoadFile(filepath.Join(out, chart+"-"+strings.TrimPrefix(chartVersion, "v")+".tgz"))
	if err != nil {
		b.t.Fatal(err)
	}
	all, err := commonutil.ToRenderValues(c, values, common.ReleaseOptions{Name: "atoll", Namespace: namespace, IsInstall: true}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	files, err := engine.Render(c, all)
	if err != nil {
		b.t.Fatal(err)
	}
	_, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range manifests {
		b.install(m.Content)
	}
}
