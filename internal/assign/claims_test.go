package assign

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/policy"
)

func claimant(name string, made int64, clusters string, namespaces ...string) v1alpha1.Project {
	p := v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ProjectSpec{Clusters: clusters, Namespaces: namespaces}}
	if made > 0 {
		p.CreationTimestamp = metav1.Time{Time: time.Unix(made, 0)}
	}
	return p
}

func usable(name, tenant string) v1alpha1.Cluster {
	return v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"tenant": tenant}}}
}

// owners are the projects whose objects policy.Check lets into a namespace: the
// very judgement of hub and agent.
func owners(all []v1alpha1.Project, clusters []v1alpha1.Cluster, namespace string) (names []string) {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("v1")
	object.SetKind("ConfigMap")
	object.SetName("x")
	object.SetNamespace(namespace)
	objects := []*unstructured.Unstructured{object}
	scope := func(schema.GroupKind) (bool, bool) { return true, true }
	for i := range all {
		bounds := desired.BuildPolicy(&v1alpha1.Application{}, Bound(&all[i], all, clusters))
		rights := policy.ProjectRBAC(all[i].Name, bounds, policy.Member{Namespaces: []string{namespace}})
		passes := len(policy.Check(bounds, all[i].Name, "", objects, scope)) == 0
		if passes != (len(rights.Namespaces) == 1) {
			panic(fmt.Sprintf("%s in %s: the check says %v and the member's rights %v", all[i].Name, namespace, passes, rights.Namespaces))
		}
		if passes {
			names = append(names, all[i].Name)
		}
	}
	return names
}

func TestTheMoreExactClaimOwnsANamespace(t *testing.T) {
	fleet := []v1alpha1.Cluster{usable("one", "a"), usable("two", "b")}
	for name, c := range map[string]struct {
		projects []v1alpha1.Project
		want     map[string][]string
	}{
		"by default": {[]v1alpha1.Project{claimant("shop", 1, ""), claimant("shop-admin", 2, "")}, map[string][]string{
			"shop": {"shop"}, "shop-web": {"shop"}, "shop-admin": {"shop-admin"}, "shop-admin-web": {"shop-admin"}, "shop-admins": {"shop"}, "bank": nil,
		}},
		"an exact name within the other's exception": {[]v1alpha1.Project{claimant("shop", 1, "", "shop-*", "shop-admin-x"), claimant("shop-admin", 2, "")}, map[string][]string{
			"shop-admin-x": {"shop"}, "shop-admin-y": {"shop-admin"},
		}},
		"equal claims are the older one's": {[]v1alpha1.Project{claimant("young", 2, "", "web", "young"), claimant("old", 1, "", "web")}, map[string][]string{
			"web": {"old"}, "young": {"young"},
		}},
		"equal claims in clusters of their own": {[]v1alpha1.Project{claimant("a", 1, "tenant=a", "web"), claimant("b", 2, "tenant=b", "web")}, map[string][]string{
			"web": {"a", "b"},
		}},
	} {
		for namespace, want := range c.want {
			if diff := cmp.Diff(want, owners(c.projects, fleet, namespace)); diff != "" {
				t.Errorf("%s: who owns %s (-want +got):\n%s", name, namespace, diff)
			}
		}
	}
}

func TestNoNamespaceHasTwoOwners(t *testing.T) {
	pattern := rapid.SampledFrom([]string{"shop", "shop-*", "shop-a", "shop-a*", "shop-a-*", "shop-a-b", "s*", "bank"})
	namespace := rapid.SampledFrom([]string{"shop", "shop-a", "shop-ab", "shop-a-b", "shop-a-b-c", "s", "bank", "bank-x", "shop-b"})
	rapid.Check(t, func(t *rapid.T) {
		var all []v1alpha1.Project
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"shop", "shop-a", "shop-a-b", "bank", "s"}), 1, 5, rapid.ID).Draw(t, "projects") {
			claims := rapid.SliceOfNDistinct(pattern, 0, 3, rapid.ID).Draw(t, "claims of "+name)
			all = append(all, claimant(name, int64(rapid.IntRange(1, 2).Draw(t, "age")), "", claims...))
		}
		place := namespace.Draw(t, "namespace")
		got := owners(all, []v1alpha1.Cluster{usable("one", "a")}, place)
		claimants := 0
		for _, p := range all {
			if desired.Owns(desired.Namespaces(p.Name, p.Spec.Namespaces), place) {
				claimants++
			}
		}
		if len(got) != min(claimants, 1) {
			t.Fatalf("%d claim %s, and it is owned by %v", claimants, place, got)
		}
		shuffled := slices.Clone(all)
		slices.Reverse(shuffled)
		for i := range all {
			if diff := cmp.Diff(Bound(&all[i], all, []v1alpha1.Cluster{usable("one", "a")}), Bound(&all[i], shuffled, []v1alpha1.Cluster{usable("one", "a")})); diff != "" {
				t.Fatalf("the order of projects matters:\n%s", diff)
			}
		}
	})
}

// Else a project that somebody makes would move, and so delete, what runs.
func TestAnApplicationStaysInItsNamespaceWhenThatIsLost(t *testing.T) {
	shop, admin := claimant("shop", 1, ""), claimant("shop-admin", 2, "")
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop-admin"}}
	bound := Bound(&shop, []v1alpha1.Project{shop, admin}, []v1alpha1.Cluster{usable("one", "a")})
	if before, after := desired.MemberNamespace(app, &shop), desired.MemberNamespace(app, bound); before != "shop-admin" || after != before {
		t.Errorf("it goes from %s to %s", before, after)
	}
}

func TestAnOverlapNamesBothProjects(t *testing.T) {
	fleet := []v1alpha1.Cluster{usable("one", "a")}
	existing := []v1alpha1.Project{claimant("shop", 1, "")}
	admin := claimant("shop-admin", 0, "")
	got := strings.Join(Overlaps(&admin, existing, fleet), "\n")
	for _, want := range []string{"project shop-admin owns from now on, of what project shop claims, shop-admin (project shop-admin), shop-admin-* (project shop-admin): "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	wide := claimant("sh", 0, "", "sh*")
	if got := strings.Join(Overlaps(&wide, existing, fleet), "\n"); !strings.HasPrefix(got, "project sh does not own, of what it claims, shop (project shop), shop-* (project shop)") {
		t.Errorf("got %q", got)
	}
	if got := Overlaps(&v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "bank"}}, existing, fleet); len(got) > 0 {
		t.Errorf("of no overlap: %q", got)
	}
	if bank := claimant("bank", 1, ""); Contend(&bank, &existing[0]) || !Contend(&admin, &existing[0]) || !Contend(&existing[0], &admin) {
		t.Error("who contends is wrong")
	}
}
