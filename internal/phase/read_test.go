package phase

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnnotationsSayWhereAnObjectStands(t *testing.T) {
	before := Deletion{BeforeCreation: true}
	tests := []struct {
		name        string
		annotations map[string]string
		want        Mark
	}{
		{"none", nil, plain},
		{"others", map[string]string{"example.com/x": "1"}, plain},
		{"our phase", map[string]string{"atoll.dev/phase": "PreSync"}, Mark{Phase: PreSync, Hook: true, Deletion: before}},
		{"ours alone", map[string]string{"atoll.dev/phase": "Verify", "helm.sh/hook": "test", "helm.sh/hook-weight": "2", "helm.sh/hook-delete-policy": "hook-succeeded"},
			Mark{Phase: Verify, Wave: 2, Hook: true, Deletion: Deletion{Succeeded: true}}},
		{"our wave", map[string]string{"atoll.dev/wave": " -3 "}, Mark{Phase: Sync, Wave: -3}},
		{"ours before theirs", map[string]string{"atoll.dev/phase": "Sync", "argocd.argoproj.io/hook": "PreSync", "helm.sh/hook": "post-install", "atoll.dev/wave": "1", "argocd.argoproj.io/sync-wave": "2", "helm.sh/hook-weight": "3"},
			Mark{Phase: Sync, Wave: 1, Hook: true, Deletion: before}},
		{"Argo CD before Helm", map[string]string{"argocd.argoproj.io/hook": "PreSync", "helm.sh/hook": "post-install", "argocd.argoproj.io/hook-delete-policy": "HookSucceeded,HookFailed", "helm.sh/hook-delete-policy": "before-hook-creation"},
			Mark{Phase: PreSync, Hook: true, Deletion: Deletion{Succeeded: true, Failed: true}}},
		{"Argo CD's wave of an ordinary object", map[string]string{"argocd.argoproj.io/sync-wave": "5"}, Mark{Phase: Sync, Wave: 5}},
		{"Argo CD skips", map[string]string{"argocd.argoproj.io/hook": "Skip"}, Mark{Phase: Sync, LeftOut: "is to be skipped, as argocd.argoproj.io/hook says"}},
		{"a deletion's hook", map[string]string{"argocd.argoproj.io/hook": "PostDelete"}, Mark{Phase: Sync, LeftOut: "is a PostDelete hook, and nothing runs when an application is deleted"}},
		{"a deletion's hook and more", map[string]string{"argocd.argoproj.io/hook": "PostDelete,PostSync"}, Mark{Phase: PostSync, Hook: true, Deletion: before}},
		{"either end", map[string]string{"argocd.argoproj.io/hook": "SyncFail, PostSync"}, Mark{Phase: PostSync, OnFailure: true, Hook: true, Deletion: before}},
		{"Helm, always", map[string]string{"helm.sh/hook": "pre-install, Pre-Upgrade", "helm.sh/hook-weight": "-5"}, Mark{Phase: PreSync, Wave: -5, Hook: true, Deletion: before}},
		{"Helm, the first time", map[string]string{"helm.sh/hook": "post-install"}, Mark{Phase: PostSync, Hook: true, Occasion: FirstDelivery, Deletion: before}},
		{"Helm, later", map[string]string{"helm.sh/hook": "pre-upgrade,pre-rollback"}, Mark{Phase: PreSync, Hook: true, Occasion: LaterDeliveries, Deletion: before}},
		{"Helm, its policy", map[string]string{"helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded"},
			Mark{Phase: PreSync, Hook: true, Deletion: Deletion{BeforeCreation: true, Succeeded: true}}},
		{"a weight without a hook", map[string]string{"helm.sh/hook-weight": "7"}, plain},
		{"a test", map[string]string{"helm.sh/hook": "test"}, Mark{Phase: Sync, LeftOut: "is a test"}},
		{"a definition of Helm 2", map[string]string{"helm.sh/hook": "crd-install"}, plain},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Read(tc.annotations)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			annotations := map[string]any{}
			for k, v := range tc.annotations {
				annotations[k] = v
			}
			if of, err := Of(map[string]any{"metadata": map[string]any{"annotations": annotations}}); err != nil || of != got {
				t.Errorf("of a manifest it reads %+v, %v", of, err)
			}
		})
	}
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	for want, annotations := range map[string]map[string]string{
		`atoll.dev/phase: "Presync" is none of`:                                    {"atoll.dev/phase": "Presync"},
		"argocd.argoproj.io/hook: Verify is none of Argo CD's":                     {"argocd.argoproj.io/hook": "Verify"},
		"atoll.dev/phase is empty":                                                 {"atoll.dev/phase": " , "},
		`atoll.dev/wave: "first" is no whole number`:                               {"atoll.dev/wave": "first"},
		`argocd.argoproj.io/sync-wave: "99999999999" is no whole number`:           {"argocd.argoproj.io/sync-wave": "99999999999"},
		`argocd.argoproj.io/hook-delete-policy: "Never" is none of`:                {"argocd.argoproj.io/hook": "PreSync", "argocd.argoproj.io/hook-delete-policy": "Never"},
		"argocd.argoproj.io/hook: PreSync and PostSync would run one object twice": {"argocd.argoproj.io/hook": "PreSync,PostSync"},
		`helm.sh/hook: "pre-instal" is no event`:                                   {"helm.sh/hook": "pre-instal"},
		"helm.sh/hook is empty":                                                    {"helm.sh/hook": ""},
		`helm.sh/hook-weight: "a" is no whole number`:                              {"helm.sh/hook": "pre-install", "helm.sh/hook-weight": "a"},
	} {
		if _, err := Read(annotations); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v gave %v, not: %s", annotations, err, want)
		}
	}
}

// FuzzRead has no annotation stop the hub or an agent, and no mark say what the
// planner does not know.
func FuzzRead(f *testing.F) {
	f.Add("PreSync", "1", "pre-install,test", "-2", "hook-succeeded")
	f.Add("Skip,PostDelete", "", "crd-install", "x", ",")
	f.Fuzz(func(t *testing.T, hook, wave, events, weight, policy string) {
		for _, a := range []map[string]string{
			{"atoll.dev/phase": hook, "atoll.dev/wave": wave},
			{"argocd.argoproj.io/hook": hook, "argocd.argoproj.io/sync-wave": wave, "argocd.argoproj.io/hook-delete-policy": policy},
			{"helm.sh/hook": events, "helm.sh/hook-weight": weight, "helm.sh/hook-delete-policy": policy},
		} {
			m, err := Read(a)
			switch {
			case err != nil && m != Mark{}:
				t.Errorf("%q gave an error and %+v", a, m)
			case err != nil:
			case m.LeftOut != "" && m.Fails(), m.Hook && m.LeftOut == "" && m.Deletion == Deletion{}, !m.Hook && m.Phase != Sync:
				t.Errorf("%q was read as %+v", a, m)
			}
		}
	})
}
