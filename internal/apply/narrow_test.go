package apply

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
)

// TestAnAgentThatMaySeeOnlySomeNamespacesStillWatchesThem uses an account that
// may not list across the cluster.
func TestAnAgentThatMaySeeOnlySomeNamespacesStillWatchesThem(t *testing.T) {
	admin := newWorld(t)
	admin.ownNamespace()
	user := "narrow-" + admin.project
	admin.deploy("access", `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: `+user+`}
rules: [{apiGroups: [""], resources: [namespaces], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: `+user+`}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: `+user+`}
subjects: [{kind: User, name: `+user+`, apiGroup: rbac.authorization.k8s.io}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: narrow, namespace: $NS}
rules: [{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: narrow, namespace: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: narrow}
subjects: [{kind: User, name: `+user+`, apiGroup: rbac.authorization.k8s.io}]
`, func(e *desired.Entry) { e.Policy.Privileged = true })
	admin.synced("access")

	cfg := rest.CopyConfig(admin.cfg)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	w := newWorldOn(t, cfg)
	w.project = admin.project
	w.deploy("shop", configMap("settings", "color", "blue"), func(e *desired.Entry) { e.Policy.Privileged = true })
	w.synced("shop")
	admin.edit(configs, "settings", `{"data":{"color":"red"}}`)
	w.eventually("it is corrected", func() bool { return field(admin.get(configs, "settings"), "data", "color") == "blue" })
	admin.deleteObject(configs, "settings")
	w.eventually("it is made again", func() bool { return admin.exists(configs, "settings") })
}

func TestInventoriesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := inventory{UID: rapid.String().Draw(t, "uid"), Corrections: rapid.Int64().Draw(t, "corrections")}
		for _, v := range rapid.SliceOfNDistinct(rapid.Custom(anyVictim), 1, 5, func(v victim) ID { return v.ID }).Draw(t, "records") {
			want.Records = append(want.Records, record{ID: v.ID, UID: v.UID, Baseline: drift.Baseline{
				Fields: []byte("{}"), Leaves: rapid.SliceOfN(rapid.Uint64(), 1, 4).Draw(t, "leaves"), Entry: rapid.Uint64().Draw(t, "entry"),
			}})
		}
		data, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeInventory(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzInventory(f *testing.F) {
	data, err := inventory{UID: "u", Records: []record{{ID: ID{Kind: "ConfigMap", Name: "a"}, UID: "1"}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeInventory(data)
		if err != nil {
			return
		}
		if _, err := got.encode(); err != nil {
			t.Error(err)
		}
	})
}
