package validate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsWrongWithAFollowedSourceIsNamedByItsField(t *testing.T) {
	for source, want := range map[string][]string{
		`{chart: {repository: "https://charts.example.com", name: web, version: 1.x}, helm: {valuesFiles: [eu.yaml]}}`:              nil,
		`{chart: {repository: "oci://ghcr.io/team", name: web, verify: {secretRef: {name: keys}}}}`:                                 nil,
		`{oci: {url: "oci://ghcr.io/team/web", ref: {semver: 1.x}, path: deploy}, kustomize: {}}`:                                   nil,
		`{chart: {repository: "http://charts.example.com", name: web}}`:                                                             {"spec.source.chart.repository"},
		`{chart: {repository: "https://charts.example.com", name: ../web, version: newest}}`:                                        {"spec.source.chart.name", "spec.source.chart.version"},
		`{chart: {repository: "https://charts.example.com", name: web, verify: {secretRef: {name: keys}}}}`:                         {"spec.source.chart.verify"},
		`{chart: {repository: "oci://ghcr.io/team", name: Web}}`:                                                                    {"spec.source.chart.name"},
		`{chart: {repository: "https://charts.example.com", name: web}, kustomize: {}}`:                                             {"spec.source.kustomize"},
		`{chart: {repository: "https://charts.example.com", name: web}, git: {url: "https://h/p"}}`:                                 {"spec.source"},
		`{chart: {repository: "https://charts.example.com", name: web}, inline: "a: b"}`:                                            {"spec.source.chart"},
		`{oci: {url: "https://ghcr.io/team/web", path: ../x, interval: 1s, secretRef: {name: A}, verify: {secretRef: {name: ""}}}}`: {"spec.source.oci.url", "spec.source.oci.path", "spec.source.oci.secretRef.name", "spec.source.oci.verify.secretRef.name", "spec.source.oci.interval"},
		`{oci: {url: "oci://ghcr.io/team/web:v1"}}`:                                                                                 {"spec.source.oci.url"},
		`{oci: {url: "oci://ghcr.io/team/web", ref: {tag: a, digest: "sha256:b"}}}`:                                                 {"spec.source.oci.ref"},
		`{inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", helm: {}}`:                                              {"spec.source.helm"},
	} {
		manifest := `{kind: Application, metadata: {name: x}, spec: {placement: {where: "true"}, source: ` + source + `}}`
		var got []string
		if err := check(t, manifest, ""); err != nil {
			got = slicesCompact(causes(t, err))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s\n%s", source, d)
		}
	}
}
