package importer

import (
	"cmp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
)

// helmRelease is a chart with its values.
func (x *flux) helmRelease(u *unstructured.Unstructured) {
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	f := fieldsOf(x.Result, title(u), "spec", spec)
	out := v1alpha1.ApplicationSpec{Placement: x.Placement, Namespace: f.text("targetNamespace")}
	release := f.text("releaseName")
	if release == "" {
		// As Flux calls it: a release is named by where it goes, too.
		if release = u.GetName(); out.Namespace != "" {
			release = out.Namespace + "-" + u.GetName()
		}
	}
	if out.Namespace == "" {
		out.Namespace = u.GetNamespace()
	}
	x.namespaces[out.Namespace] = true
	helm := &v1alpha1.HelmOptions{ReleaseName: release, Values: rawValues(x.values(f, u.GetNamespace()))}
	install := f.sub("install")
	helm.SkipCRDs = install.text("crds") == "Skip"
	drift := f.sub("driftDetection")
	if drift.text("mode") != "enabled" {
		out.Drift.Mode = v1alpha1.DriftReport
	}
	x.ignored(drift, &out)
	drift.done()
	f.lose("postRenderers", "write what they change into the chart or its values")
	tests := f.sub("test")
	helm.Tests = tests.flag("enable")
	tests.skip("timeout")
	tests.note("ignoreFailures", "tests that fail halt a rollout, and nothing else")
	tests.lose("filters", "all tests of the chart are run")
	tests.done()
	f.skip("interval", "timeout", "install", "upgrade", "rollback", "uninstall", "maxHistory", "storageNamespace", "waitStrategy")
	upgrade := f.sub("upgrade")
	if retry := cmp.Or(upgrade.fluxRetry(), install.fluxRetry()); retry != nil {
		out.Sync = &v1alpha1.Sync{Retry: retry}
	}
	upgrade.note("remediation", "its retries are those of each object, in spec.sync.retry; say in spec.rollout what a failure does: onFailure: Rollback")
	x.shared(f, &out)
	f.lose("commonMetadata", "write it into the chart")
	source, ok := x.chart(f, u.GetNamespace(), helm)
	f.done()
	if !ok {
		return
	}
	out.Source = *source
	out.Source.Helm = helm
	x.application(u, out)
}

func (x *flux) ignored(drift *fields, out *v1alpha1.ApplicationSpec) {
	for _, rule := range drift.each("ignore") {
		made := v1alpha1.FieldRule{}
		for _, p := range rule.texts("paths") {
			made.Paths = append(made.Paths, ofPointer(p))
		}
		target := rule.sub("target")
		made.Group, made.Kind, made.Name = target.text("group"), target.text("kind"), target.text("name")
		if strings.ContainsAny(made.Kind+made.Name, ".*^$|[](") {
			x.lose(rule.object, target.at, "is a pattern: name kind and object in drift.ignore")
			continue
		}
		target.skip("version")
		target.done()
		rule.done()
		if len(made.Paths) > 0 {
			out.Drift.Ignore = append(out.Drift.Ignore, made)
		}
	}
}

// values are those of ConfigMaps among the files, then the release's own. A
// Secret's are never taken: they would lie in clear.
func (x *flux) values(f *fields, namespace string) map[string]any {
	values := map[string]any{}
	for _, from := range f.each("valuesFrom") {
		kind, name, key := from.text("kind"), from.text("name"), from.text("valuesKey")
		if key == "" {
			key = "values.yaml"
		}
		from.skip("optional", "targetPath", "literal")
		from.done()
		u := x.byKey["ConfigMap "+namespace+"/"+name]
		switch {
		case kind != "ConfigMap":
			x.lose(f.object, from.at, "values of Secret %s are not read: deliver the Secret, and name it in the chart's values", name)
		case u == nil || from.m["targetPath"] != nil:
			x.lose(f.object, from.at, "write the values of ConfigMap %s into helm.values", name)
		default:
			text, _, _ := unstructured.NestedString(u.Object, "data", key)
			more := map[string]any{}
			if err := yaml.Unmarshal([]byte(text), &more); err != nil {
				x.lose(f.object, from.at, "%s of ConfigMap %s is no YAML: %v", key, name, err)
			}
			values = merged(values, more)
		}
	}
	own, _ := f.take("values").(map[string]any)
	return merged(values, own)
}

// chart is where the chart lies.
func (x *flux) chart(f *fields, namespace string, helm *v1alpha1.HelmOptions) (*v1alpha1.Source, bool) {
	spec := f.sub("chart").sub("spec")
	ref := spec.sub("sourceRef")
	if f.has("chartRef") {
		ref = f.sub("chartRef")
	}
	f.skip("chartRef")
	name, version := spec.text("chart"), spec.text("version")
	helm.ValuesFiles = spec.texts("valuesFiles")
	spec.skip("interval", "reconcileStrategy")
	spec.lose("verify", "charts are not verified")
	spec.lose("ignoreMissingValuesFiles", "a values file that is missing is refused")
	spec.done()
	source, ok := x.source(f, ref, namespace)
	if !ok {
		return nil, false
	}
	switch source.GetKind() {
	case "GitRepository":
		git := x.git(source, name)
		for i, file := range helm.ValuesFiles {
			// Flux looks for them from the repository, Atoll from the chart.
			helm.ValuesFiles[i] = strings.Repeat("../", strings.Count("/"+git.Path, "/")) + cleanPath(file)
		}
		return &v1alpha1.Source{Git: git}, true
	case "HelmRepository":
		return &v1alpha1.Source{Chart: x.repository(source, name, version)}, true
	case "OCIRepository":
		_, chart := x.registry(source)
		return &v1alpha1.Source{Chart: chart}, true
	}
	x.lose(f.object, ref.at, "%s holds no charts", source.GetKind())
	return nil, false
}
