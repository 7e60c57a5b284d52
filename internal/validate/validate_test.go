package validate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
)

func object(t testing.TB, manifest string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatal(err)
	}
	u.SetAPIVersion("atoll.dev/v1alpha1")
	return u
}

func check(t *testing.T, new, old string) error {
	t.Helper()
	var before *unstructured.Unstructured
	if old != "" {
		before = object(t, old)
	}
	after := object(t, new)
	return Object(after.GroupVersionKind(), after, before)
}

// causes are the fields that an Invalid error names.
func causes(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	status, ok := err.(apierrors.APIStatus)
	if !ok || !apierrors.IsInvalid(err) {
		t.Fatalf("not an Invalid: %v", err)
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		fields = append(fields, cause.Field)
	}
	return fields
}

func TestEveryFieldAtFaultIsNamedAtOnce(t *testing.T) {
	err := check(t, `{kind: Application, metadata: {name: Shop}, spec: {
		source: {inline: "{"}, placement: {where: "1", count: 0, tolerations: [{key: "/"}]}, namespace: atoll-system,
		drift: {exact: [{kind: deployment, paths: [""]}]}, onDelete: Burn, variables: {x: z}, health: [{kind: w, healthy: ""}]}}`, "")
	want := []string{
		"metadata.name", "spec.source.inline", "spec.placement.where", "spec.placement.count", "spec.placement.tolerations[0].key",
		"spec.namespace", "spec.drift.exact[0].kind", "spec.drift.exact[0].paths[0]", "spec.onDelete", "spec.variables",
		"spec.health[0].kind", "spec.health[0].healthy",
	}
	if diff := cmp.Diff(want, slicesCompact(causes(t, err))); diff != "" {
		t.Error(diff)
	}
}

// slicesCompact drops a field's second complaint.
func slicesCompact(fields []string) []string {
	var out []string
	for i, f := range fields {
		if i == 0 || f != fields[i-1] {
			out = append(out, f)
		}
	}
	return out
}

func TestWhatIsStoredCanBeUpdatedWithoutTouchingItsSpec(t *testing.T) {
	old := `{kind: Placement, metadata: {name: x}, spec: {where: "cluster.regoin == 'a'"}}`
	if err := check(t, `{kind: Placement, metadata: {name: x, labels: {a: b}}, spec: {where: "cluster.regoin == 'a'"}}`, old); err != nil {
		t.Errorf("a label: %v", err)
	}
	if err := check(t, `{kind: Placement, metadata: {name: x}, spec: {where: "cluster.regoin == 'b'"}}`, old); err == nil {
		t.Error("a change of the invalid part was let through")
	}
}

func TestAJoinedClusterKeepsItsWayOfAccess(t *testing.T) {
	const joined = `{kind: Cluster, metadata: {name: x}, spec: {owner: a}, status: {identity: {clusterUID: u, keyFingerprint: f, sealingKey: s}}}`
	const direct = `{kind: Cluster, metadata: {name: x}, spec: {owner: a, direct: {secretName: s}}}`
	if got := causes(t, check(t, direct, joined)); !cmp.Equal(got, []string{"spec.direct"}) {
		t.Errorf("to direct after joining: %v", got)
	}
	if err := check(t, direct, `{kind: Cluster, metadata: {name: x}, spec: {owner: a}}`); err != nil {
		t.Errorf("to direct before joining: %v", err)
	}
}

func TestARevisionNeverChanges(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	revision := func(objects string) string {
		return `{kind: Revision, metadata: {name: shop-0123456789ab}, spec: {application: shop, digest: "` + digest + `", bytes: 1, objects: ` + objects + `}}`
	}
	if err := check(t, revision("1"), ""); err != nil {
		t.Fatal(err)
	}
	if got := causes(t, check(t, revision("2"), revision("1"))); !cmp.Equal(got, []string{"spec"}) {
		t.Errorf("got %v", got)
	}
}

func TestOtherGroupsPassAndShapelessObjectsDoNot(t *testing.T) {
	u := object(t, `{kind: Cluster, metadata: {name: x}, spec: {}}`)
	if err := Object(schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1", Kind: "Cluster"}, u, nil); err != nil {
		t.Errorf("another group's Cluster: %v", err)
	}
	for manifest, at := range map[string]string{
		`{kind: Cluster, metadata: {name: x}, spec: [1]}`:                                                          "spec",
		`{kind: Cluster, metadata: {name: x}, spec: {owner: true}}`:                                                "spec.owner",
		`{kind: Application, metadata: {name: x}, spec: {source: {}, lateBinding: true, variables: {color: yes}}}`: "spec.variables",
	} {
		if got := causes(t, check(t, manifest, "")); !cmp.Equal(got, []string{at}) {
			t.Errorf("%s: %v, want %s", manifest, got, at)
		}
	}
}

func TestSecretValuesAreNeverQuoted(t *testing.T) {
	err := check(t, `{kind: Application, metadata: {name: x}, spec: {source: {inline: '{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {p: hunter2}}'}}}`, "")
	if got := causes(t, err); !cmp.Equal(got, []string{"spec.source.inline"}) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("fields %v: %v", got, err)
	}
}

func TestPrivileges(t *testing.T) {
	for _, tc := range []struct {
		name, new, old string
		want           []string
	}{
		{"a plain cluster", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, provider: eks}}`, "", nil},
		{"a cluster classified from the start", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, region: r, jurisdiction: eu, tenant: t}}`, "",
			[]string{"classify clusters/x spec.jurisdiction", "classify clusters/x spec.region", "classify clusters/x spec.tenant"}},
		{"a new owner", `{kind: Cluster, metadata: {name: x}, spec: {owner: b, region: r}}`, `{kind: Cluster, metadata: {name: x}, spec: {owner: a, region: r}}`, nil},
		{"another agent", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, agent: {image: i}}}`, `{kind: Cluster, metadata: {name: x}, spec: {owner: a}}`, []string{"upgrade clusters/x spec.agent"}},
		{"a jurisdiction taken away", `{kind: Cluster, metadata: {name: x}, spec: {owner: a}}`, `{kind: Cluster, metadata: {name: x}, spec: {owner: a, jurisdiction: eu}}`, []string{"classify clusters/x spec.jurisdiction"}},
		{"a residency taken away", `{kind: Project, metadata: {name: p}, spec: {}}`, `{kind: Project, metadata: {name: p}, spec: {residency: {jurisdictions: [eu]}}}`, []string{"classify projects/p spec.residency"}},
		{"a tenant", `{kind: Project, metadata: {name: p}, spec: {tenant: t}}`, `{kind: Project, metadata: {name: p}}`, []string{"classify projects/p spec.tenant"}},
		{"privilege given", `{kind: Project, metadata: {name: p}, spec: {privileged: true}}`, "", []string{"escalate projects/p spec.privileged"}},
		{"privilege kept", `{kind: Project, metadata: {name: p}, spec: {privileged: true, forbidPause: true}}`, `{kind: Project, metadata: {name: p}, spec: {privileged: true}}`, nil},
		{"privilege given up", `{kind: Project, metadata: {name: p}, spec: {}}`, `{kind: Project, metadata: {name: p}, spec: {privileged: true}}`, nil},
		{"a kind with power over the cluster", `{kind: Project, metadata: {name: p}, spec: {kinds: [{group: rbac.authorization.k8s.io, kind: ClusterRole}]}}`, "", []string{"escalate projects/p spec.kinds"}},
		{"a harmless kind", `{kind: Project, metadata: {name: p}, spec: {kinds: [{group: storage.k8s.io, kind: StorageClass}]}}`, "", nil},
		{"an application", `{kind: Application, metadata: {name: p}, spec: {}}`, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var old *unstructured.Unstructured
			if tc.old != "" {
				old = object(t, tc.old)
			}
			after := object(t, tc.new)
			var got []string
			for _, p := range Privileges(after.GroupVersionKind(), after, old) {
				got = append(got, p.Verb+" "+p.Resource.Resource+"/"+p.Name+" "+p.Field)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPlacementOnlyNarrowsItsProject(t *testing.T) {
	project := &v1alpha1.Project{Spec: v1alpha1.ProjectSpec{Residency: &v1alpha1.Residency{Jurisdictions: []string{"eu"}}}}
	path := field.NewPath("spec", "placement")
	if errs := WithinProject(path, v1alpha1.PlacementRule{Residency: &v1alpha1.Residency{Jurisdictions: []string{"eu", "us"}}}, project); len(errs) != 1 ||
		errs[0].Field != "spec.placement.residency" || !strings.Contains(errs[0].Detail, "jurisdictions us reach beyond the allowed eu") {
		t.Errorf("wider: %v", errs)
	}
	if errs := WithinProject(path, v1alpha1.PlacementRule{Residency: &v1alpha1.Residency{Regions: []string{"eu-west-1"}}}, project); errs != nil {
		t.Errorf("narrower: %v", errs)
	}
}

func FuzzObject(f *testing.F) {
	f.Add("Cluster", `{owner: a, taints: [{key: a}]}`)
	f.Add("Project", `{namespaces: ["*"], kinds: [{kind: x}], residency: {}}`)
	f.Add("Placement", `{where: "cluster.facts.nodes > 1", clusters: "a in (b"}`)
	f.Add("Application", `{source: {inline: "apiVersion: v1"}, health: [{kind: X, healthy: "object.a"}], drift: {ignore: [{paths: ["a[b=c]"]}]}}`)
	f.Add("Revision", `{digest: x}`)
	f.Fuzz(func(t *testing.T, kind, spec string) {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		var parsed any
		if len(spec) > 4096 || yaml.Unmarshal([]byte(spec), &parsed) != nil {
			return
		}
		u.Object["spec"] = parsed
		u.SetAPIVersion("atoll.dev/v1alpha1")
		u.SetKind(kind)
		u.SetName("x")
		err := Object(u.GroupVersionKind(), u, nil)
		if err != nil && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
			t.Fatalf("neither 422 nor 400: %v", err)
		}
		Privileges(u.GroupVersionKind(), u, nil)
	})
}
