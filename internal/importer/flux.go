package importer

import (
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
)

// flux is one import of Flux's objects.
type flux struct {
	Options
	*Result
	// byKey are all objects that were given, by KIND NAMESPACE/NAME.
	byKey map[string]*unstructured.Unstructured
	// namespaces are those that its applications deliver to.
	namespaces map[string]bool
	// names are those that its applications got, and needs what they wait for,
	// by the title of what they were made of.
	names map[string]string
	needs map[string][]string
}

// Flux makes a Project and Applications of Flux's objects.
func Flux(objects []*unstructured.Unstructured, o Options) *Result {
	x := &flux{Options: o, Result: &Result{}, byKey: map[string]*unstructured.Unstructured{}, namespaces: map[string]bool{}, names: map[string]string{}, needs: map[string][]string{}}
	objects = x.once(objects, func(u *unstructured.Unstructured) bool {
		group := u.GroupVersionKind().Group
		return strings.HasSuffix(group, ".fluxcd.io") || group == "" && u.GetKind() == "ConfigMap"
	})
	for _, u := range objects {
		x.byKey[title(u)] = u
	}
	for _, u := range objects {
		group := u.GroupVersionKind().Group
		switch {
		case group == "kustomize.toolkit.fluxcd.io" && u.GetKind() == "Kustomization":
			x.kustomization(u)
		case group == "helm.toolkit.fluxcd.io" && u.GetKind() == "HelmRelease":
			x.helmRelease(u)
		case group == "source.toolkit.fluxcd.io":
			// Sources are read where they are referred to.
		case strings.HasSuffix(group, ".fluxcd.io"):
			x.lose(title(u), "", "%s has no counterpart in Atoll", u.GetKind())
		}
	}
	x.order()
	delete(x.namespaces, "")
	if len(x.Objects) > 0 {
		if x.Placement == nil {
			x.lose("Project "+x.Project, "placement", "no cluster was named, so the applications are delivered to none: give --cluster, --to or --where")
		}
		a := &argo{Result: x.Result}
		x.add("Project", "", x.Project, "Flux", nil, v1alpha1.ProjectSpec{Namespaces: a.ownable("Project "+x.Project, x.Project, x.namespaces)})
	}
	return x.finish()
}

// source is a Flux source that the application of f refers to.
func (x *flux) source(f *fields, ref *fields, in string) (*unstructured.Unstructured, bool) {
	kind, name, namespace := ref.text("kind"), ref.text("name"), ref.text("namespace")
	ref.skip("apiVersion")
	ref.done()
	if namespace == "" {
		namespace = in
	}
	u := x.byKey[kind+" "+namespace+"/"+name]
	switch {
	case kind == "Bucket" || kind == "ExternalArtifact":
		x.lose(f.object, ref.at, "%s is not followed: give the Git repository that it is made of", kind)
		return nil, false
	case u == nil:
		x.lose(f.object, ref.at, "%s %s/%s is not among the files", kind, namespace, name)
		return nil, false
	}
	return u, true
}

// git reads a GitRepository; the path within it is the application's to say.
func (x *flux) git(u *unstructured.Unstructured, path string) *v1alpha1.GitSource {
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	f := fieldsOf(x.Result, title(u), "spec", spec)
	out := &v1alpha1.GitSource{URL: f.text("url"), Path: cleanPath(path)}
	ref := f.sub("ref")
	out.Ref = v1alpha1.GitRef{Branch: ref.text("branch"), Tag: ref.text("tag"), Semver: ref.text("semver"), Commit: ref.text("commit")}
	// Flux prefers them in this order.
	switch {
	case out.Ref.Commit != "":
		out.Ref = v1alpha1.GitRef{Commit: out.Ref.Commit}
	case ref.text("name") != "":
		out.Ref, _ = gitRef(ref.text("name"))
	case out.Ref.Semver != "":
		out.Ref = v1alpha1.GitRef{Semver: out.Ref.Semver}
	case out.Ref.Tag != "":
		out.Ref = v1alpha1.GitRef{Tag: out.Ref.Tag}
	}
	ref.skip("name")
	ref.done()
	out.SecretRef, out.Interval = x.secret(f, u), x.interval(f)
	f.skip("timeout", "sparseCheckout", "provider")
	f.lose("verify", "commits are not verified")
	f.lose("ignore", "what lies in the folder is delivered: choose by folders")
	f.lose("recurseSubmodules", "submodules are refused: commit a copy")
	f.lose("include", "an application has one repository")
	f.lose("suspend", "a source is followed while an application has it")
	f.done()
	return out
}

func (x *flux) interval(f *fields) *metav1.Duration {
	text := f.text("interval")
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil
	}
	return &metav1.Duration{Duration: min(max(d, 10*time.Second), 24*time.Hour)}
}

// kustomization is a Flux Kustomization: a folder and what is laid over it.
func (x *flux) kustomization(u *unstructured.Unstructured) {
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	f := fieldsOf(x.Result, title(u), "spec", spec)
	out := v1alpha1.ApplicationSpec{Placement: x.Placement, Namespace: f.text("targetNamespace")}
	x.namespaces[out.Namespace] = true
	f.r.note(f.object, "", "if its folder holds Flux's own objects, import those and leave this Application out")
	if out.Namespace != "" {
		x.note(f.object, "spec.targetNamespace", "counts for objects that name no namespace; Flux overrules those that do")
	}
	if !f.flag("prune") {
		x.lose(f.object, "spec.prune", "Flux keeps what left the source; Atoll deletes it, at most %d objects a sync without asking", deletionBudget)
	}
	kustomize := &v1alpha1.KustomizeOptions{NamePrefix: f.text("namePrefix"), NameSuffix: f.text("nameSuffix")}
	for _, i := range f.each("images") {
		kustomize.Images = append(kustomize.Images, v1alpha1.ImageOverride{Name: i.text("name"), NewName: i.text("newName"), NewTag: i.text("newTag"), Digest: i.text("digest")})
		i.done()
	}
	if kustomize.NamePrefix+kustomize.NameSuffix != "" || len(kustomize.Images) > 0 {
		out.Source.Kustomize = kustomize
	}
	x.substitute(f, &out)
	x.shared(f, &out)
	if backoff := every(f.wait("retryInterval")); backoff != nil {
		out.Sync = &v1alpha1.Sync{Retry: &v1alpha1.Retry{Backoff: backoff}}
	}
	f.skip("prune", "wait", "healthChecks", "timeout", "interval")
	for key, why := range map[string]string{
		"patches": "write them into the kustomization", "components": "write them into the kustomization", "commonMetadata": "write it into the kustomization",
		"decryption": "encrypted files are not opened: deliver Secrets with atoll deploy, which seals them", "force": "annotate what may be deleted and made anew, where it cannot be changed, with kustomize.toolkit.fluxcd.io/force: enabled; for once there is atoll sync --force",
		"healthCheckExprs": "say it in spec.health", "ignoreMissingComponents": "what is missing is refused", "deletionPolicy": "say onDelete of the Application",
	} {
		f.lose(key, "%s", why)
	}
	path := f.text("path")
	source, ok := x.source(f, f.sub("sourceRef"), u.GetNamespace())
	f.done()
	switch {
	case !ok:
	case source.GetKind() == "GitRepository":
		out.Source.Git = x.git(source, path)
		x.application(u, out)
	case source.GetKind() == "OCIRepository":
		out.Source.OCI, _ = x.registry(source)
		out.Source.OCI.Path = cleanPath(path)
		x.application(u, out)
	default:
		x.lose(f.object, "spec.sourceRef", "%s holds no folders", source.GetKind())
	}
}

// substitute keeps the values; where they go is written in the manifests.
func (x *flux) substitute(f *fields, out *v1alpha1.ApplicationSpec) {
	post := f.sub("postBuild")
	f.skip("postBuildSubstitutionStrategy")
	values := post.pairs("substitute")
	if len(values) > 0 {
		out.LateBinding, out.Variables = true, values
		names := slices.Sorted(maps.Keys(values))
		x.lose(f.object, "spec.postBuild.substitute", "Atoll binds ${atoll:var.%s} and not ${%s}: write that into the manifests, within texts", names[0], names[0])
	}
	post.lose("substituteFrom", "put the values into spec.variables")
	post.done()
}

// shared are the fields that Kustomizations and HelmReleases have both.
func (x *flux) shared(f *fields, out *v1alpha1.ApplicationSpec) {
	if f.flag("suspend") {
		out.Freeze = &v1alpha1.Freeze{Reason: "suspended in Flux"}
		f.r.note(f.object, f.path("suspend"), "it is frozen: clusters are told nothing of it before atoll thaw")
	}
	f.lose("kubeConfig", "name the cluster in spec.placement")
	for _, d := range f.each("dependsOn") {
		kind, rest, _ := strings.Cut(f.object, " ")
		namespace, _, _ := strings.Cut(rest, "/")
		if other := d.text("namespace"); other != "" {
			namespace = other
		}
		x.needs[f.object] = append(x.needs[f.object], kind+" "+namespace+"/"+d.text("name"))
		d.lose("readyExpr", "what is waited for is in sync and healthy")
		d.done()
	}
	f.note("serviceAccountName", "objects are applied as the project's own account in each cluster")
	f.skip("persistentClient")
}

func (x *flux) application(u *unstructured.Unstructured, out v1alpha1.ApplicationSpec) {
	name := dns(u.GetName(), mostApplication)
	for _, o := range x.Objects {
		// Flux has a namespace for each team where Atoll has one for the project.
		if o.GetName() == name && o.GetKind() == "Application" {
			name = dns(u.GetNamespace()+"-"+u.GetName(), mostApplication)
		}
	}
	x.names[title(u)] = name
	x.add("Application", x.Project, name, title(u), u.GetLabels(), out)
}

// order says what waits for what, once all have their names.
func (x *flux) order() {
	for _, o := range x.Objects {
		origin := o.GetAnnotations()[AnnotationOrigin]
		var all []any
		for _, need := range x.needs[origin] {
			if name := x.names[need]; name != "" {
				all = append(all, map[string]any{"application": name})
				continue
			}
			x.lose(origin, "spec.dependsOn", "%s was not imported", need)
		}
		if len(all) > 0 {
			o.Object["spec"].(map[string]any)["dependsOn"] = all
		}
	}
}
