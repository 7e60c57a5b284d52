package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/testfleet"
)

// versionsIn are the objects of a namespace of a member that an application of
// these tests has, by kind and name, each with what tells that its spec changed.
func versionsIn(t *testing.T, m *testfleet.Member, namespace string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for kind, list := range map[string]client.ObjectList{"ConfigMap": &corev1.ConfigMapList{}, "Secret": &corev1.SecretList{}, "Deployment": &appsv1.DeploymentList{}} {
		if err := m.Client().List(t.Context(), list, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			o := item.(client.Object)
			if o.GetName() == "kube-root-ca.crt" {
				return nil
			}
			version := o.GetResourceVersion()
			if kind == "Deployment" {
				version = fmt.Sprint(o.GetGeneration()) // its status moves all the time
			}
			found[kind+" "+o.GetName()] = string(o.GetUID()) + " " + version
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func TestWhatIsPlannedIsExactlyWhatThenChangesOnTheMembers(t *testing.T) {
	f := fleet(t)
	f.Project("planned")
	secret := func(value string) string {
		return manifest("Secret", "db", map[string]any{"stringData": map[string]any{"password": value}})
	}
	before := strings.Join([]string{configMap("stays", "1"), configMap("changes", "1"), configMap("goes", "1"), secret("swordfish"), deployment("web", "web:1", 2)}, "---\n")
	after := strings.Join([]string{configMap("stays", "1"), configMap("changes", "2"), configMap("comes", "1"), secret("marlin"), deployment("web", "web:2", 2)}, "---\n")
	app := f.Deploy("planned", "shop", before, "--to", "stage=production")
	app.Settles(2)

	ask := []string{"plan", "shop", "-p", "planned", "-f", "-", "-o", "json"}
	if r := f.Hub.CLIWith(before, ask...); r.Code != 0 {
		t.Errorf("a plan of what is there exits %d: %s", r.Code, r)
	}
	seenLive(t, f, after, append(ask, "--live"))
	old := map[string]map[string]string{}
	for _, name := range []string{"a", "b"} {
		old[name] = versionsIn(t, f.Member(name), "planned")
	}
	r := f.Hub.CLIWith(after, ask...)
	if r.Code != 1 || has(r.Stdout, "swordfish") || has(r.Stdout, "marlin") {
		t.Fatalf("the plan exits %d and says %s", r.Code, r)
	}
	var answer fleetapi.PlanAnswer
	if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Plans) != 1 || len(answer.Plans[0].Classes) != 1 || len(answer.Plans[0].Unknown) != 0 {
		t.Fatalf("the plan is %+v", answer)
	}
	class := answer.Plans[0].Classes[0]
	if !slices.Equal(class.Clusters, []string{"a", "b"}) || len(answer.Plans[0].APIs) != 0 {
		t.Fatalf("the plan is %+v", answer.Plans[0])
	}
	planned := map[string]string{}
	for _, o := range class.Objects {
		planned[o.Ref.Kind+" "+o.Ref.Name] = string(o.Action)
	}

	f.Deploy("planned", "shop", after)
	app.Eventually("has the revision that was planned", func(app *v1alpha1.Application) bool { return app.Status.Revision == class.To })
	app.Settles(2)
	for name, was := range old {
		eventually(t, "the deletion on "+name, func(ctx context.Context) error {
			err := f.Member(name).Client().Get(ctx, client.ObjectKey{Namespace: "planned", Name: "goes"}, &corev1.ConfigMap{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there: %v", err)
		})
		is, happened := versionsIn(t, f.Member(name), "planned"), map[string]string{}
		for object, version := range was {
			if now, there := is[object]; !there {
				happened[object] = "Delete"
			} else if now != version {
				happened[object] = "Change"
			}
		}
		for object := range is {
			if _, there := was[object]; !there {
				happened[object] = "Create"
			}
		}
		if !maps.Equal(planned, happened) {
			t.Errorf("on %s was planned %v, and happened %v", name, planned, happened)
		}
	}
}

// seenLive has the members asked, too: on a somebody made what would come, and the
// caller may read ConfigMaps there; on b an object has drifted, and is left so.
func seenLive(t *testing.T, f *testfleet.Fleet, after string, ask []string) {
	t.Helper()
	a, b := f.Member("a"), f.Member("b")
	binding := &rbacv1.RoleBinding{ObjectMeta: named("planned", "reader"), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "atoll:atoll-admin"}}}
	theirs := &corev1.ConfigMap{ObjectMeta: named("planned", "comes"), Data: map[string]string{"value": "theirs"}}
	for _, o := range []client.Object{binding, theirs} {
		if err := a.Client().Create(t.Context(), o, client.FieldOwner("somebody")); err != nil {
			t.Fatal(err)
		}
	}
	stays := &corev1.ConfigMap{ObjectMeta: named("planned", "stays")}
	drifts := func(annotation any, value string) {
		t.Helper()
		patch := mergePatch(map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationPauseUntil: annotation}}, "data": map[string]any{"value": value}})
		if err := b.Client().Patch(t.Context(), stays, patch); err != nil {
			t.Fatal(err)
		}
	}
	drifts(time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "drifted")

	r := f.Hub.CLIWith(after, ask...)
	var answer fleetapi.PlanAnswer
	if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil || r.Code != 1 || len(answer.Plans) != 1 {
		t.Fatalf("the plan that asks members: %v, %s", err, r)
	}
	found := map[string]string{}
	for _, l := range answer.Plans[0].Live {
		found[string(l.Kind)+" "+l.Ref.Name] = strings.Join(l.Clusters, " ") + " " + l.Message
	}
	if len(found) != 2 || !strings.HasPrefix(found["Conflict comes"], "a it is there already, by somebody") || !strings.HasPrefix(found["Drifted stays"], "b") {
		t.Errorf("it found %v", found)
	}
	// A Secret of a's and everything of b's are not the caller's to read.
	if u := answer.Plans[0].Unknown; len(u) != 1 || !slices.Equal(u[0].Clusters, []string{"a", "b"}) || !strings.Contains(u[0].Message, "you may not read") {
		t.Errorf("it does not know %+v", u)
	}

	deleteIn(t, a, theirs)
	deleteIn(t, a, binding)
	drifts(nil, "drifted")
	becomes(t, b, "planned", "stays", "1")
}
