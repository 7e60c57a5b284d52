package importer

import (
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
)

// chartOf is a chart by the repository that Argo CD names, which leaves the
// scheme of registries out.
func chartOf(repository, name, version string) *v1alpha1.ChartSource {
	if !strings.Contains(repository, "://") {
		repository = "oci://" + repository
	}
	if version == "*" {
		version = "" // the highest, which is what Atoll takes when it is told nothing
	}
	return &v1alpha1.ChartSource{Repository: repository, Name: name, Version: version}
}

// artifactRef reads what stands behind a registry's address.
func artifactRef(revision string) v1alpha1.OCIRef {
	switch {
	case strings.HasPrefix(revision, "sha256:"):
		return v1alpha1.OCIRef{Digest: revision}
	case versions.MatchString(revision):
		return v1alpha1.OCIRef{Semver: revision}
	}
	return v1alpha1.OCIRef{Tag: revision}
}

// registry is an OCIRepository of Flux, as an artifact and as a chart.
func (x *flux) registry(u *unstructured.Unstructured) (*v1alpha1.OCISource, *v1alpha1.ChartSource) {
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	f := fieldsOf(x.Result, title(u), "spec", spec)
	out := &v1alpha1.OCISource{URL: f.text("url"), SecretRef: x.secret(f, u), Interval: x.interval(f)}
	ref := f.sub("ref")
	// Flux prefers them in this order.
	switch {
	case ref.text("digest") != "":
		out.Ref.Digest = ref.text("digest")
	case ref.text("semver") != "":
		out.Ref.Semver = ref.text("semver")
	default:
		out.Ref.Tag = ref.text("tag")
	}
	ref.skip("digest", "semver", "tag")
	ref.lose("semverFilter", "all tags are looked at")
	ref.done()
	verify := f.sub("verify")
	if secret := verify.sub("secretRef").text("name"); secret != "" {
		out.Verify = &v1alpha1.Verification{SecretRef: v1alpha1.SecretReference{Name: secret}}
		verify.skip("provider", "secretRef")
	}
	verify.done()
	f.skip("layerSelector", "timeout")
	f.lose("ignore", "what lies in the folder is delivered: choose by folders")
	f.lose("certSecretRef", "put ca.crt into the Secret of secretRef")
	f.lose("insecure", "registries are spoken to over TLS")
	f.note("provider", "the hub logs in with the Secret of secretRef alone")
	f.note("serviceAccountName", "the hub logs in with the Secret of secretRef alone")
	f.lose("proxySecretRef", "the hub's own proxy is used")
	f.lose("suspend", "a source is followed while an application has it")
	f.done()
	version := out.Ref.Semver
	if version == "" {
		version = out.Ref.Tag
	}
	chart := chartOf("oci://"+path.Dir(strings.TrimPrefix(out.URL, "oci://")), path.Base(out.URL), version)
	chart.SecretRef, chart.Interval, chart.Verify = out.SecretRef, out.Interval, out.Verify
	return out, chart
}

// repository is a HelmRepository of Flux.
func (x *flux) repository(u *unstructured.Unstructured, name, version string) *v1alpha1.ChartSource {
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	f := fieldsOf(x.Result, title(u), "spec", spec)
	out := chartOf(f.text("url"), name, version)
	out.SecretRef, out.Interval = x.secret(f, u), x.interval(f)
	f.skip("type", "timeout")
	f.lose("certSecretRef", "put ca.crt into the Secret of secretRef")
	f.lose("insecure", "registries are spoken to over TLS")
	f.note("passCredentials", "credentials go to the repository's own host")
	f.note("provider", "the hub logs in with the Secret of secretRef alone")
	f.lose("suspend", "a source is followed while an application has it")
	f.done()
	return out
}

// secret is one that has to be made again beside the Application.
func (x *flux) secret(f *fields, u *unstructured.Unstructured) *v1alpha1.SecretReference {
	ref := f.sub("secretRef")
	name := ref.text("name")
	ref.done()
	if name == "" {
		return nil
	}
	x.note(title(u), "spec.secretRef", "make the Secret %s again in namespace %s of the hub: its keys mean the same there", name, x.Project)
	return &v1alpha1.SecretReference{Name: name}
}
