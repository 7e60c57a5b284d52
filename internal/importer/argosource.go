package importer

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
)

// source is where an application's manifests come from. Without one there is
// nothing to import.
func (a *argo) source(f *fields, project string) (v1alpha1.Source, bool) {
	all := f.each("sources")
	one := f.sub("source")
	f.lose("sourceHydrator", "Atoll renders itself: follow the dry source")
	switch {
	case len(all) == 1:
		one = all[0]
	case len(all) > 1:
		f.r.lose(f.object, f.path("sources"), "an application has one source: put the values beside the chart in one repository, or make an application of each")
		return v1alpha1.Source{}, false
	}
	url, chart := one.text("repoURL"), one.text("chart")
	if url == "" {
		f.r.lose(f.object, f.path("source"), "names no repository")
		return v1alpha1.Source{}, false
	}
	secret := a.credential(f, url, project)
	out, revision, path := v1alpha1.Source{}, one.text("targetRevision"), cleanPath(one.text("path"))
	switch {
	case chart != "":
		out.Chart = chartOf(url, chart, revision)
		out.Chart.SecretRef = secret
	case strings.HasPrefix(url, "oci://"):
		out.OCI = &v1alpha1.OCISource{URL: url, Ref: artifactRef(revision), Path: path, SecretRef: secret}
	default:
		ref, guess := gitRef(revision)
		out.Git = &v1alpha1.GitSource{URL: url, Path: path, Ref: ref, SecretRef: secret}
		if guess != "" {
			f.r.note(f.object, one.path("targetRevision"), "%s", guess)
		}
	}
	one.skip("name")
	one.lose("ref", "an application has one source, so that none refers to another")
	out.Helm = one.sub("helm").helm()
	out.Kustomize = one.sub("kustomize").kustomize()
	one.sub("directory").directory()
	one.lose("plugin", "what generates manifests outside of charts and kustomizations is not run: commit what it makes")
	one.done()
	return out, true
}

func (f *fields) helm() *v1alpha1.HelmOptions {
	if len(f.m) == 0 {
		return nil
	}
	out := &v1alpha1.HelmOptions{ReleaseName: f.text("releaseName"), ValuesFiles: f.texts("valueFiles"), SkipCRDs: f.flag("skipCrds"), APIVersions: f.texts("apiVersions")}
	for _, file := range out.ValuesFiles {
		if strings.Contains(file, "://") || strings.HasPrefix(file, "$") {
			f.r.lose(f.object, f.path("valueFiles"), "%s does not lie in the source itself", file)
		}
	}
	values := map[string]any{}
	if text := f.text("values"); text != "" {
		if err := yaml.Unmarshal([]byte(text), &values); err != nil {
			f.r.lose(f.object, f.path("values"), "are no YAML: %v", err)
		}
	}
	if object, ok := f.take("valuesObject").(map[string]any); ok {
		values = object // it wins over the text, as a whole
	}
	for _, p := range f.each("parameters") {
		if err := setParameter(values, p.text("name"), p.text("value"), p.flag("forceString")); err != nil {
			f.r.lose(f.object, p.path("name"), "%v", err)
		}
		p.done()
	}
	out.Values = rawValues(values)
	f.skip("version", "passCredentials", "skipTests", "skipSchemaValidation")
	f.lose("ignoreMissingValueFiles", "a values file that is missing is refused")
	f.lose("fileParameters", "write their content into values")
	f.lose("kubeVersion", "charts are told the version of the clusters they go to")
	f.done()
	return out
}

func rawValues(values map[string]any) *runtime.RawExtension {
	if len(values) == 0 {
		return nil
	}
	data, err := json.Marshal(values)
	if err != nil {
		return nil
	}
	return &runtime.RawExtension{Raw: data}
}

// setParameter is helm's --set for the names that people use; indexes and lists
// are another language of their own.
func setParameter(values map[string]any, name, value string, forceString bool) error {
	if name == "" || strings.ContainsAny(name, "[]{},") || strings.HasPrefix(value, "{") {
		return fmt.Errorf("parameter %s=%s has indexes or lists: write it into values", name, value)
	}
	const dot = "\x00"
	parts := strings.Split(strings.ReplaceAll(name, `\.`, dot), ".")
	for i, part := range parts {
		part = strings.ReplaceAll(part, dot, ".")
		if i == len(parts)-1 {
			values[part] = parameter(value, forceString)
			return nil
		}
		next, ok := values[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			values[part] = next
		}
		values = next
	}
	return nil
}

// parameter has the type that helm gives it.
func parameter(value string, forceString bool) any {
	if forceString {
		return value
	}
	switch value {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	n := int64(0)
	if _, err := fmt.Sscanf(value, "%d", &n); err == nil && fmt.Sprint(n) == value {
		return n
	}
	return value
}

func (f *fields) kustomize() *v1alpha1.KustomizeOptions {
	if len(f.m) == 0 {
		return nil
	}
	out := &v1alpha1.KustomizeOptions{NamePrefix: f.text("namePrefix"), NameSuffix: f.text("nameSuffix")}
	for _, image := range f.texts("images") {
		out.Images = append(out.Images, imageOf(image))
	}
	f.skip("version")
	for _, key := range []string{"commonLabels", "commonAnnotations", "components", "patches", "replicas", "namespace", "labelWithoutSelector", "forceCommonLabels", "forceCommonAnnotations"} {
		f.lose(key, "write it into the kustomization")
	}
	f.done()
	if out.NamePrefix+out.NameSuffix == "" && len(out.Images) == 0 {
		return nil
	}
	return out
}

// imageOf reads NAME[=NEWNAME][:TAG][@DIGEST].
func imageOf(image string) v1alpha1.ImageOverride {
	name, rest, renamed := strings.Cut(image, "=")
	if !renamed {
		rest = image
	}
	rest, digest, _ := strings.Cut(rest, "@")
	tag := ""
	if colon := strings.LastIndex(rest, ":"); colon > strings.LastIndex(rest, "/") {
		rest, tag = rest[:colon], rest[colon+1:]
	}
	out := v1alpha1.ImageOverride{Name: rest, NewTag: tag, Digest: digest}
	if renamed {
		out.Name, out.NewName = name, rest
	}
	return out
}

func (f *fields) directory() {
	f.skip("recurse")
	f.lose("include", "all manifests of the folder are delivered: choose by folders")
	f.lose("exclude", "all manifests of the folder are delivered: choose by folders")
	f.lose("jsonnet", "commit what it makes")
	f.done()
}
