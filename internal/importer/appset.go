package importer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
)

// applicationSet makes one Application of all that differ in their cluster
// alone: copies for each cluster are what a placement is there to avoid.
func (a *argo) applicationSet(u *unstructured.Unstructured) {
	origin := title(u)
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	f := fieldsOf(a.Result, origin, "spec", spec)
	lang := templating{golang: f.flag("goTemplate"), options: f.texts("goTemplateOptions")}
	generators, template := f.each("generators"), f.sub("template")
	f.lose("templatePatch", "patches of the template are not carried over: write what they say into the Applications")
	f.lose("strategy", "say in spec.rollout of the Application how a change travels over its clusters")
	f.sub("syncPolicy").applicationsSync()
	f.note("ignoreApplicationDifferences", "Applications are Atoll's own; change them with whoever owns the fields")
	f.skip("applyNestedSelectors", "preservedFields")
	f.done()

	g := &generation{a: a, lang: lang}
	sets, err := g.expand(generators, nil, 0)
	if err != nil {
		a.lose(origin, "spec.generators", "%v", err)
		return
	}
	groups, err := g.grouped(sets, template.m)
	if err != nil {
		a.lose(origin, "spec.template", "%v", err)
		return
	}
	for i, group := range groups {
		group.object.SetNamespace(u.GetNamespace())
		group.object.SetName(group.called(u.GetName(), i, len(groups)))
		a.placed(group, origin)
	}
	if len(sets) == 0 {
		a.lose(origin, "spec.generators", "make no application at all")
	}
}

func (f *fields) applicationsSync() {
	f.note("preserveResourcesOnDeletion", "say onDelete of the Application")
	f.note("applicationsSync", "Applications stand for themselves")
	f.done()
}

// group is Applications that are one but for their cluster.
type group struct {
	object  *unstructured.Unstructured
	members []member
}

// member is an Application that Argo CD has for one cluster.
type member struct {
	name         string
	of           *choice
	cluster, dns string
	any          bool
	lost         error
}

// grouped fills the template with each set and puts equal outcomes together,
// in the order in which they came up first.
func (g *generation) grouped(sets []set, template map[string]any) ([]*group, error) {
	var groups []*group
	known := map[string]*group{}
	for _, s := range sets {
		filled, err := g.lang.fill(template, s.params)
		if err != nil {
			return nil, unknownCluster(s, err)
		}
		u := &unstructured.Unstructured{Object: filled.(map[string]any)}
		m := member{name: u.GetName(), of: s.of}
		name, _, _ := unstructured.NestedString(u.Object, "spec", "destination", "name")
		server, _, _ := unstructured.NestedString(u.Object, "spec", "destination", "server")
		m.dns, m.any, m.lost = g.a.destination(name, server)
		for _, c := range g.a.clusters {
			if c.name == m.dns {
				m.cluster = c.argoName
			}
		}
		if m.any {
			m.cluster = anyCluster.argoName
		}
		unstructured.RemoveNestedField(u.Object, "metadata", "name")
		unstructured.RemoveNestedField(u.Object, "spec", "destination", "name")
		unstructured.RemoveNestedField(u.Object, "spec", "destination", "server")
		key, err := json.Marshal(u.Object)
		if err != nil {
			return nil, err
		}
		if strings.Contains(string(key), anyCluster.argoName) {
			return nil, unknownCluster(s, fmt.Errorf("more than the destination depends on the cluster"))
		}
		if known[string(key)] == nil {
			known[string(key)] = &group{object: u}
			groups = append(groups, known[string(key)])
		}
		known[string(key)].members = append(known[string(key)].members, m)
	}
	return groups, nil
}

func unknownCluster(s set, err error) error {
	if s.of != nil && len(s.of.all) == 0 {
		return fmt.Errorf("%w: give the Secrets of Argo CD's clusters too (kubectl get secrets -n argocd -l %s=cluster -o yaml; what is secret in them is not printed)", err, labelSecretType)
	}
	return err
}

// called is the name that all members share once their clusters' names are
// taken out of theirs.
func (g *group) called(set string, i, of int) string {
	shared := map[string]bool{}
	for _, m := range g.members {
		name := m.name
		if len(g.members) > 1 || m.any {
			for _, cluster := range []string{m.cluster, normalize(m.cluster), m.dns} {
				if cluster != "" {
					name = strings.ReplaceAll(name, cluster, "-")
				}
			}
		}
		shared[dns(name, mostApplication)] = true
	}
	names := slices.Collect(maps.Keys(shared))
	switch {
	case len(names) == 1 && names[0] != "x":
		return names[0]
	case of == 1:
		return set
	}
	return fmt.Sprintf("%s-%d", set, i+1)
}

// placement is the generator's selector where the group is all that it matches,
// so that clusters that come later are chosen too; else names. It is nil when no
// cluster is known.
func (g *group) placement() *v1alpha1.ApplicationPlacement {
	p := &v1alpha1.ApplicationPlacement{}
	names := map[string]bool{}
	of := g.members[0].of
	for _, m := range g.members {
		if m.of != of || m.lost != nil {
			of = nil
		}
		if m.lost == nil {
			names[m.dns] = true
		}
	}
	p.Names = slices.Sorted(maps.Keys(names))
	switch {
	case len(names) == 0:
		return nil
	case of != nil && (g.members[0].any || slices.Equal(p.Names, slices.Sorted(slices.Values(of.all)))):
		if p.Names, p.Clusters = nil, of.selector; p.Clusters == "" {
			p.Where = "true"
		}
	}
	return p
}

func (a *argo) placed(g *group, origin string) {
	placement := g.placement()
	for _, m := range g.members {
		if m.lost != nil {
			a.lose(origin, "spec.template.spec.destination", "%s: %v: it is not placed there", m.name, m.lost)
		}
	}
	if placement != nil && placement.Where != "" {
		a.note(origin, "spec.generators", "chooses every cluster of the fleet, those too that Argo CD does not know")
	}
	a.application(g.object, origin, placement)
}

// applicationOf is an Application that stands for itself.
func (a *argo) applicationOf(u *unstructured.Unstructured) {
	u = u.DeepCopy()
	name, _, _ := unstructured.NestedString(u.Object, "spec", "destination", "name")
	server, _, _ := unstructured.NestedString(u.Object, "spec", "destination", "server")
	unstructured.RemoveNestedField(u.Object, "spec", "destination", "name")
	unstructured.RemoveNestedField(u.Object, "spec", "destination", "server")
	found, _, err := a.destination(name, server)
	if err != nil {
		a.lose(title(u), "spec.destination", "%v: it is placed nowhere", err)
		a.application(u, title(u), nil)
		return
	}
	placement := &v1alpha1.ApplicationPlacement{}
	placement.Names = []string{found}
	a.application(u, title(u), placement)
}
