package importer

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
)

// projectName is Atoll's; names that its hub keeps for itself get a prefix.
func (a *argo) projectName(name string) string {
	if name == "" {
		name = "default"
	}
	made := dns(name, mostApplication)
	if made == "default" || strings.HasPrefix(made, "kube-") || strings.HasPrefix(made, "atoll-") {
		made = "argocd-" + made
	}
	return made
}

// delivers remembers the namespaces of a project.
func (a *argo) delivers(project, made, namespace string) {
	if project == "" {
		project = "default"
	}
	if a.namespaces[project] == nil {
		a.namespaces[project] = map[string]bool{}
	}
	if namespace != "" && namespace != made {
		a.namespaces[project][namespace] = true
	}
}

func (a *argo) project(u *unstructured.Unstructured) {
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	f := fieldsOf(a.Result, title(u), "spec", spec)
	out := v1alpha1.ProjectSpec{}
	namespaces := maps.Clone(a.namespaces[u.GetName()])
	if namespaces == nil {
		namespaces = map[string]bool{}
	}
	for _, d := range f.each("destinations") {
		a.mayDeliver(d, namespaces)
	}
	out.Namespaces = a.ownable(title(u), a.projectName(u.GetName()), namespaces)
	for _, kind := range f.each("clusterResourceWhitelist") {
		group, name := kind.text("group"), kind.text("kind")
		kind.lose("name", "a project may own kinds, not single objects of them")
		kind.done()
		if strings.Contains(group, "*") || name == "*" {
			f.r.lose(f.object, kind.at, "any cluster-scoped kind is what spec.privileged allows; set it if the project delivers such objects")
			continue
		}
		out.Kinds = append(out.Kinds, v1alpha1.GroupKind{Group: group, Kind: name})
	}
	f.skip("description")
	f.note("orphanedResources", "what others put into a namespace is not reported")
	for key, why := range map[string]string{
		"roles": "say who may do what with RBAC in the project's namespace of the hub", "syncWindows": "is not carried over",
		"signatureKeys": "commits are not verified", "sourceNamespaces": "Applications live in their project's namespace",
		"namespaceResourceBlacklist": "kinds of the project's namespaces are not forbidden", "clusterResourceBlacklist": "cluster-scoped kinds are forbidden unless spec.kinds names them",
		"namespaceResourceWhitelist": "all kinds of the project's namespaces are allowed", "destinationServiceAccounts": "objects are applied as the project's own account in each cluster",
	} {
		f.lose(key, "%s", why)
	}
	if repos := f.texts("sourceRepos"); !slices.Contains(repos, "*") {
		f.lose("sourceRepos", "any repository may be followed that the project's Secrets open")
	}
	f.skip("permitOnlyProjectScopedClusters")
	f.done()
	a.add("Project", "", a.projectName(u.GetName()), title(u), nil, out)
}

// mayDeliver takes the namespaces of a destination; clusters are chosen by
// labels in Atoll, so those that are named one by one are lost.
func (a *argo) mayDeliver(d *fields, namespaces map[string]bool) {
	server, name := d.text("server"), d.text("name")
	if server != "*" && name != "*" && server+name != "" {
		d.r.lose(d.object, d.at, "the project may use every cluster: say which by labels in spec.clusters (here it is %s)", strings.TrimPrefix(name+" "+server, " "))
	}
	namespace := d.text("namespace")
	stem, isPrefix := strings.CutSuffix(namespace, "*")
	switch {
	case namespace == "*":
		d.r.note(d.object, d.path("namespace"), "no project owns every namespace: it gets those that its imported applications use")
	case strings.HasPrefix(namespace, "!") || isPrefix && (stem == "" || strings.Contains(stem, "*")) || !isPrefix && strings.Contains(namespace, "*"):
		d.r.lose(d.object, d.path("namespace"), "%q is neither a namespace nor a prefix of some", namespace)
	case namespace != "":
		namespaces[namespace] = true
	}
	d.done()
}

// ownable leaves out what belongs to the cluster or the agent.
func (a *argo) ownable(object, project string, namespaces map[string]bool) []string {
	var all []string
	for _, n := range slices.Sorted(maps.Keys(namespaces)) {
		if strings.HasPrefix(n, "kube-") || strings.HasPrefix(n, "atoll-system") {
			a.lose(object, "spec.destinations", "no project owns namespace %s; deliver there from a privileged one", n)
			continue
		}
		all = append(all, n)
	}
	if len(all) > 0 && !slices.Contains(all, project) {
		// Namespaces that are listed replace the project's own ones.
		all = append(all, project)
	}
	slices.Sort(all)
	return all
}

// projectsNobodyDescribed are those of applications whose AppProject was not given.
func (a *argo) projectsNobodyDescribed(described []*unstructured.Unstructured) {
	for _, name := range slices.Sorted(maps.Keys(a.namespaces)) {
		if slices.ContainsFunc(described, func(u *unstructured.Unstructured) bool { return u.GetName() == name }) {
			continue
		}
		made, object := a.projectName(name), "AppProject "+name
		a.note(object, "", "was not given: Project %s may use every cluster, and the namespaces of its applications", made)
		a.add("Project", "", made, object, nil, v1alpha1.ProjectSpec{Namespaces: a.ownable(object, made, a.namespaces[name])})
	}
}
