package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/render"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/render/helm"
)

// A chart has so many objects of each kind, twenty together. None makes work for
// a member's controllers beyond one status of a Deployment, whoever applies it.
const (
	chartDeployments = 4
	chartAccounts    = 4
	chartConfigMaps  = 12
	chartObjects     = chartDeployments + chartAccounts + chartConfigMaps
)

// charted are the kinds of a chart.
var charted = map[string]schema.GroupVersionResource{
	"Deployment":     deployments,
	"ServiceAccount": {Version: "v1", Resource: "serviceaccounts"},
	"ConfigMap":      {Version: "v1", Resource: "configmaps"},
}

func chartName(i int) string   { return fmt.Sprintf("app-%03d", i) }
func chartFolder(i int) string { return "apps/" + chartName(i) }

// chartFiles are those of one application, by their paths in the repository.
func chartFiles(i int) map[string]string {
	dir := chartFolder(i) + "/"
	files := map[string]string{
		dir + "Chart.yaml":            fmt.Sprintf("apiVersion: v2\nname: %s\nversion: 1.0.0\nappVersion: \"1.0\"\n", chartName(i)),
		dir + "values.yaml":           chartValues(0),
		dir + "templates/_labels.tpl": `{{ define "labels" }}{app: {{ .Release.Name }}, chart: "{{ .Chart.Name }}-{{ .Chart.Version }}"}{{ end }}`,
	}
	const head = `metadata:
  name: {{ .Release.Name }}-%[1]s
  labels: {{ include "labels" . }}
  annotations: {%[2]s: "{{ .Values.change }}"}
`
	object := func(name, kind, rest string) {
		files[dir+"templates/"+name+".yaml"] = kind + fmt.Sprintf(head, name, changeKey) + rest
	}
	for n := range chartDeployments {
		name := fmt.Sprintf("web-%d", n)
		object(name, "apiVersion: apps/v1\nkind: Deployment\n", fmt.Sprintf(`spec:
  paused: true
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: "{{ .Release.Name }}-%[1]s"}}
  template:
    metadata: {labels: {app: "{{ .Release.Name }}-%[1]s"}}
    spec:
      serviceAccountName: {{ .Release.Name }}-account-%[2]d
      containers:
      - name: web
        image: "{{ .Values.image }}:{{ .Values.change }}"
        ports: [{containerPort: 8080}]
        {{- with .Values.resources }}
        resources: {{ toJson . }}
        {{- end }}
        envFrom: [{configMapRef: {name: "{{ .Release.Name }}-config-%[2]d"}}]
`, name, n))
	}
	for n := range chartAccounts {
		object(fmt.Sprintf("account-%d", n), "apiVersion: v1\nkind: ServiceAccount\n", "automountServiceAccountToken: false\n")
	}
	for n := range chartConfigMaps {
		object(fmt.Sprintf("config-%d", n), "apiVersion: v1\nkind: ConfigMap\n",
			"data:\n  change: {{ .Values.change | quote }}\n  {{- range $key, $value := .Values.settings }}\n  {{ $key }}: {{ $value | quote }}\n  {{- end }}\n")
	}
	return files
}

// chartValues makes each change one of every object.
func chartValues(change int) string {
	return fmt.Sprintf("change: %d\nreplicas: 0\nimage: shop/web\nresources: {requests: {cpu: 50m, memory: 64Mi}}\nsettings: {level: info, greeting: hello, timeout: 30s, retries: 3}\n", change)
}

// rendered is one object as the raw side applies it.
type rendered struct {
	kind schema.GroupVersionResource
	name string
	body []byte
}

// renderAll renders the charts one after the other in this process, by the
// library that the hub renders with, and has each object as JSON.
func renderAll(dir string, apps int, kubernetes string) ([]rendered, error) {
	var all []rendered
	for i := range apps {
		out, err := render.Render(os.DirFS(dir), render.Inputs{
			Path: chartFolder(i), Cluster: class.BuiltIn(kubernetes, nil), Helm: helm.Options{Release: chartName(i), Namespace: rawSpace},
		})
		if err != nil {
			return nil, err
		}
		for _, f := range out.Files {
			objects, err := objectsOf(f.Data)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			all = append(all, objects...)
		}
	}
	return all, nil
}

func objectsOf(text []byte) ([]rendered, error) {
	var all []rendered
	for reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		body, err := sigsyaml.YAMLToJSON(document)
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(body); err != nil {
			return nil, err
		}
		all = append(all, rendered{charted[u.GetKind()], u.GetName(), body})
	}
}

// applyRendered is one server-side apply with the dynamic client.
func (m *member) applyRendered(ctx context.Context, o rendered) error {
	force := true
	_, err := m.objects.Resource(o.kind).Namespace(rawSpace).Patch(ctx, o.name, types.ApplyPatchType, o.body,
		metav1.PatchOptions{FieldManager: "raw", Force: &force})
	if err != nil {
		return fmt.Errorf("apply %s to %s: %w", o.name, m.Name, err)
	}
	return nil
}
