package apply

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

func TestAHostileProjectIsRefusedByTheAgent(t *testing.T) {
	for name, manifest := range map[string]string{
		"cluster-admin":       "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: $NS-admin}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: User, name: eve}]\n",
		"foreign namespace":   "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: kube-system}\n",
		"the agent's":         "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + limitsName + ", namespace: atoll-system}\ndata: {}\n",
		"cluster-scoped kind": "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: $NS-high}\nvalue: 5\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy("evil", configMap("innocent", "k", "v")+manifest)
			w.problem("evil", "PolicyRefused")
			s := w.state("evil", "Failed", func(s report.State) bool { return s.Sync == report.Failed })
			if s.Applied != 0 {
				t.Errorf("part of a refused application was applied: %s", describeState(s))
			}
			if w.exists(configs, "innocent") {
				t.Error("the rest was applied")
			}
		})
	}
}

func TestTheMembersRBACRefusesEvenWhatTheAgentWouldAllow(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "v"))
	w.synced("shop")
	as, err := w.engine.clients.as(w.project)
	if err != nil {
		t.Fatal(err)
	}
	made := &unstructured.Unstructured{Object: existing("intruder", "red")}
	if _, err := as.Resource(configs).Namespace("default").Create(t.Context(), made, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the project's account wrote into another namespace: %v", err)
	}
	roles := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}
	role := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": w.project}}}
	if _, err := as.Resource(roles).Create(t.Context(), role, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the project's account wrote RBAC: %v", err)
	}
}

func TestAccessThatSomeoneRemovedIsGivenAgain(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "v"))
	w.synced("shop")
	bindings := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
	w.deleteObject(bindings, ServiceAccount(w.project))
	w.deploy("shop", configMap("a", "k", "w"))
	w.eventually("the change is delivered", func() bool { return field(w.get(configs, "a"), "data", "k") == "w" })
	w.synced("shop")
}

func TestAPrivilegedProjectUsesTheAgentsAccount(t *testing.T) {
	w := newWorld(t)
	w.deploy("base", "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: $NS-high}\nvalue: 5\n",
		func(e *desired.Entry) { e.Policy.Privileged = true })
	w.synced("base")
}

func (w *world) limit(data map[string]any) {
	w.t.Helper()
	cm := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": limitsName}, "data": data,
	}}
	all := w.client.Resource(configs).Namespace(systemNamespace)
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": systemNamespace}}}
	if _, err := w.client.Resource(namespaces.gvr).Create(w.t.Context(), ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatal(err)
	}
	if err := all.Delete(w.t.Context(), limitsName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	if data == nil {
		return
	}
	if _, err := all.Create(w.t.Context(), cm, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func TestTheMemberLimitsTheHubAndMayChangeItsMind(t *testing.T) {
	w := newWorld(t)
	defer w.limit(nil)
	w.limit(map[string]any{"forbidKinds": "Secret, Deployment.apps", "forbidNamespaces": "vault-*", "forbidDeletions": "true", "forbidExec": "true"})
	w.eventually("the limits are known", func() bool { return w.engine.Limits().Exec })
	w.deploy("shop", configMap("a", "k", "v")+configMap("b", "k", "v")+deployment("web", "shop/web:1.0", 1))
	p := w.problem("shop", "Forbidden")
	if p.Object.Kind != "Deployment" || !strings.Contains(p.Message, limitsName) {
		t.Errorf("problem: %+v", p)
	}
	w.eventually("the rest is applied", func() bool { return w.exists(configs, "a") })
	if w.exists(deployments, "web") {
		t.Error("a forbidden kind was applied")
	}
	facts, err := w.engine.Facts(t.Context())
	if err != nil || len(facts.Limits) != 4 {
		t.Errorf("facts: %v %v", facts.Limits, err)
	}
	w.limit(map[string]any{"forbidDeletions": "true"})
	w.synced("shop")
	w.deploy("shop", configMap("a", "k", "v"), func(e *desired.Entry) { e.Policy.OnDelete = v1alpha1.Delete })
	w.state("shop", "Held", func(s report.State) bool { return s.Sync == report.Held && find(s, "DeletionHeld") != nil })
	if !w.exists(configs, "b") {
		t.Error("a forbidden deletion happened")
	}
	w.limit(nil)
	w.eventually("it is allowed now", func() bool { return !w.exists(configs, "b") })
	w.synced("shop")
}

func TestFactsOfTheMember(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", deployment("web", "shop/web:1.0", 2))
	w.state("shop", "well", report.State.Well)
	facts, err := w.engine.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if facts.Nodes == 0 || facts.NodesReady != facts.Nodes || facts.KubernetesVersion != "v1.36.3" || facts.Pods < 2 || facts.Namespaces < 4 {
		t.Errorf("facts: %+v", facts)
	}
	cpu, memory := facts.Requested["cpu"], facts.Capacity["memory"]
	if cpu.MilliValue() < 20 || memory.IsZero() || len(facts.StorageClasses) == 0 || facts.StorageClasses[0] != "standard" {
		t.Errorf("cpu %s memory %s classes %v", cpu.String(), memory.String(), facts.StorageClasses)
	}
}

func TestAWithdrawnApplicationIsDeletedAfterARestartWithoutItsAccess(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "v"), deleting)
	w.synced("shop")
	w.halt()
	bindings := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
	w.deleteObject(bindings, ServiceAccount(w.project))
	w.start()
	w.change("shop", withdrawing)
	w.state("shop", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
	if w.exists(configs, "a") {
		t.Error("the object is left")
	}
}
