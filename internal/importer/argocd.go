package importer

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
)

// argo is one import of Argo CD's objects.
type argo struct {
	Options
	*Result
	// clusters are those that Secrets tell of, and the one that Argo CD runs in;
	// secrets is how many are told of by Secrets.
	clusters []cluster
	secrets  int
	// credentials are Argo CD's for repositories.
	credentials []credential
	// home tells that something runs in the cluster of Argo CD itself.
	home bool
	// namespaces are those that the applications of a project deliver to, by the
	// project's name in Argo CD.
	namespaces map[string]map[string]bool
}

// ArgoCD makes Projects, Clusters and Applications of Argo CD's objects.
func ArgoCD(objects []*unstructured.Unstructured, o Options) *Result {
	a := &argo{Options: o, Result: &Result{}, namespaces: map[string]map[string]bool{}}
	objects = a.once(objects, func(u *unstructured.Unstructured) bool {
		return u.GroupVersionKind().Group == "argoproj.io" || u.GetLabels()[labelSecretType] != ""
	})
	var projects []*unstructured.Unstructured
	for _, u := range objects {
		switch kind := u.GetLabels()[labelSecretType]; {
		case u.GetKind() != "Secret":
		case kind == "cluster":
			a.clusterSecret(u)
		case kind == "repository", kind == "repo-creds":
			a.credentials = append(a.credentials, credential{url: a.text(u, "url"), secret: u.GetName(), stem: kind == "repo-creds"})
		}
	}
	described := a.told(inClusterServer)
	if !described {
		a.clusters = append(a.clusters, cluster{name: o.InCluster, argoName: inClusterName, server: inClusterServer})
	}
	for _, u := range objects {
		switch {
		case u.GroupVersionKind().Group != "argoproj.io":
		case u.GetKind() == "Application" && !ownedBySet(u):
			a.applicationOf(u)
		case u.GetKind() == "ApplicationSet":
			a.applicationSet(u)
		case u.GetKind() == "AppProject":
			projects = append(projects, u)
		}
	}
	if a.home && !described {
		a.add("Cluster", "", o.InCluster, "the cluster that Argo CD runs in", nil, v1alpha1.ClusterSpec{Owner: o.Owner, Purpose: "imported from Argo CD"})
	}
	for _, u := range projects {
		a.project(u)
	}
	a.projectsNobodyDescribed(projects)
	return a.finish()
}

// once keeps the first of objects that are given twice: unbuilt patches of a
// kustomization look like the objects that they change. Of those that do not
// concern the import nothing is said.
func (r *Result) once(objects []*unstructured.Unstructured, concerns func(*unstructured.Unstructured) bool) []*unstructured.Unstructured {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(objects), func(u *unstructured.Unstructured) bool {
		key := u.GroupVersionKind().Group + "/" + title(u)
		again := seen[key]
		if seen[key] = true; again && concerns(u) {
			r.lose(title(u), "", "is given twice and the first counts; if one is a patch, build the kustomization first")
		}
		return again
	})
}

// ownedBySet tells an Application that comes with its ApplicationSet.
func ownedBySet(u *unstructured.Unstructured) bool {
	return slices.ContainsFunc(u.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return o.Kind == "ApplicationSet" })
}

const (
	labelSecretType = "argocd.argoproj.io/secret-type"
	inClusterName   = "in-cluster"
	inClusterServer = "https://kubernetes.default.svc"
)

// cluster is one that Argo CD delivers to.
type cluster struct {
	// name is Atoll's.
	name             string
	argoName, server string
	labels           map[string]string
	annotations      map[string]string
}

// anyCluster's name and address are found again in what a template makes.
var anyCluster = cluster{argoName: "any-cluster-of-an-import", server: "https://any-cluster-of-an-import"}

func (c cluster) secretLabels() map[string]string {
	if c.server == inClusterServer && c.labels == nil {
		return nil
	}
	out := maps.Clone(c.labels)
	if out == nil {
		out = map[string]string{}
	}
	out[labelSecretType] = "cluster"
	return out
}

func (c cluster) params() map[string]any {
	metadata := map[string]any{"labels": anyMap(c.secretLabels()), "annotations": anyMap(c.annotations)}
	return map[string]any{"name": c.argoName, "nameNormalized": normalize(c.argoName), "server": c.server, "project": "", "metadata": metadata}
}

func anyMap(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func (a *argo) told(server string) bool {
	return slices.ContainsFunc(a.clusters, func(c cluster) bool { return c.server == server })
}

// text is what a Secret says that is no secret.
func (a *argo) text(u *unstructured.Unstructured, key string) string {
	if s, ok, _ := unstructured.NestedString(u.Object, "stringData", key); ok {
		return s
	}
	encoded, _, _ := unstructured.NestedString(u.Object, "data", key)
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		a.lose(title(u), "data."+key, "is not base64")
	}
	return string(data)
}

// credential is a Secret for a repository, or for all whose URLs begin so.
type credential struct {
	url, secret string
	stem        bool
}

// credential is the Secret that a source needs in the hub; it is for people to
// make, since nothing of it may be printed.
func (a *argo) credential(f *fields, url, project string) *v1alpha1.SecretReference {
	found := credential{}
	for _, c := range a.credentials {
		fits := sameRepository(c.url, url) || c.stem && c.url != "" && strings.HasPrefix(url, c.url)
		// As in Argo CD: a repository's own first, then the longest stem.
		if fits && (found.secret == "" || found.stem && (!c.stem || len(c.url) > len(found.url))) {
			found = c
		}
	}
	if found.secret == "" {
		return nil
	}
	a.note(f.object, "spec.source.repoURL", "make the Secret %s in namespace %s of the hub, with username and password, or for ssh identity (sshPrivateKey there) and known_hosts", found.secret, project)
	return &v1alpha1.SecretReference{Name: found.secret}
}

// clusterSecret takes name, address and labels. How Argo CD logs in there is
// not looked at: Atoll's agents dial out, and nothing of it may be printed.
func (a *argo) clusterSecret(u *unstructured.Unstructured) {
	a.secrets++
	text := func(key string) string { return a.text(u, key) }
	name, server := text("name"), text("server")
	if name == "" {
		name = server
	}
	c := cluster{name: dns(name, mostCluster), argoName: name, server: strings.TrimRight(server, "/"), annotations: u.GetAnnotations(), labels: map[string]string{}}
	for k, v := range u.GetLabels() {
		if !strings.HasPrefix(k, "argocd.argoproj.io/") {
			c.labels[k] = v
		}
	}
	for key, why := range map[string]string{
		"namespaces": "the member's own limits say which namespaces an agent may touch: ConfigMap atoll-limits",
		"project":    "which projects may use the cluster is said by their spec.clusters",
	} {
		if text(key) != "" {
			a.lose(title(u), "data."+key, "%s", why)
		}
	}
	if c.name != name {
		a.note(title(u), "data.name", "%q is called %s", name, c.name)
	}
	a.clusters = append(a.clusters, c)
	a.add("Cluster", "", c.name, title(u), c.labels, v1alpha1.ClusterSpec{Owner: a.Owner, Purpose: "imported from Argo CD"})
}

// repository is a checkout by its URL, however that is written.
func (a *argo) repository(url string) (fs.FS, bool) {
	for known, tree := range a.Repositories {
		if sameRepository(known, url) {
			return tree, true
		}
	}
	return nil, false
}

func sameRepository(a, b string) bool {
	plain := func(url string) string { return strings.TrimSuffix(strings.TrimRight(url, "/"), ".git") }
	return plain(a) == plain(b)
}

// destination is Atoll's name of a cluster; any tells that it may be each.
func (a *argo) destination(name, server string) (found string, any bool, err error) {
	server = strings.TrimRight(server, "/")
	if name == anyCluster.argoName || server == anyCluster.server {
		return "", true, nil
	}
	for _, c := range a.clusters {
		if name != "" && c.argoName == name || name == "" && server != "" && c.server == server {
			a.home = a.home || c.server == inClusterServer
			return c.name, false, nil
		}
	}
	if name+server == "" {
		return "", false, fmt.Errorf("names no cluster")
	}
	return "", false, fmt.Errorf("no cluster Secret is given for %s", strings.TrimPrefix(name+" "+server, " "))
}
