package policy_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/policy"
)

func TestWhatAProjectMayDeliverToTheHubItself(t *testing.T) {
	for name, tt := range map[string]struct {
		manifest      string
		narrow, fleet string // the reasons for an ordinary project, and for a privileged one
	}{
		"its own application":               {`{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: web}}`, "", ""},
		"and by the namespace":              {`{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: web, namespace: shop}}`, "", ""},
		"another project's":                 {`{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: web, namespace: bank}}`, policy.ForeignNamespace, ""},
		"what is like its own in a cluster": {`{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: web, namespace: shop-eu}}`, policy.ForeignNamespace, ""},
		"a project":                         {`{apiVersion: atoll.dev/v1alpha1, kind: Project, metadata: {name: bank}}`, policy.FleetsKind, ""},
		"a cluster":                         {`{apiVersion: atoll.dev/v1alpha1, kind: Cluster, metadata: {name: eu-1, namespace: shop}}`, policy.FleetsKind, ""},
		"a placement":                       {`{apiVersion: atoll.dev/v1alpha1, kind: Placement, metadata: {name: eu}}`, policy.FleetsKind, ""},
		"itself":                            {`{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: apps}}`, policy.ManagesSelf, policy.ManagesSelf},
		"its namesake elsewhere":            {`{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: apps, namespace: bank}}`, policy.ForeignNamespace, ""},
		"its own project":                   {`{apiVersion: atoll.dev/v1alpha1, kind: Project, metadata: {name: shop}}`, policy.FleetsKind, policy.ManagesSelf},
		"a record":                          {`{apiVersion: atoll.dev/v1alpha1, kind: Revision, metadata: {name: web-1}}`, policy.HubsRecord, policy.HubsRecord},
		"a rollout":                         {`{apiVersion: atoll.dev/v1alpha1, kind: RolloutRun, metadata: {name: web-1}}`, policy.HubsRecord, policy.HubsRecord},
		"the hub's own namespace":           {`{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: web, namespace: atoll-system}}`, policy.SystemNamespace, policy.SystemNamespace},
		"a secret":                          {`{apiVersion: v1, kind: Secret, metadata: {name: token}}`, policy.NotAtolls, policy.NotAtolls},
		"rights":                            {`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: all}}`, policy.NotAtolls, policy.NotAtolls},
		"a webhook":                         {`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: atoll}}`, policy.NotAtolls, policy.NotAtolls},
		"a group that looks like Atoll's":   {`{apiVersion: fleet.atoll.dev/v1alpha1, kind: Application, metadata: {name: web}}`, policy.NotAtolls, policy.NotAtolls},
		"a list":                            {`{apiVersion: atoll.dev/v1alpha1, kind: ApplicationList, metadata: {name: x}, items: []}`, policy.ListWrapped, policy.ListWrapped},
		"a person's word":                   {`{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {name: web, annotations: {atoll.dev/override-by: alice, atoll.dev/override-reason: x}}}`, policy.Overridden, policy.Overridden},
		"nothing by name":                   {`{apiVersion: atoll.dev/v1alpha1, kind: Application, metadata: {generateName: web-}}`, policy.Malformed, policy.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(tt.manifest), &obj.Object); err != nil {
				t.Fatal(err)
			}
			for wide, want := range map[bool]string{false: tt.narrow, true: tt.fleet} {
				// Privileged says as whom it is written, and widens nothing.
				p := desired.Policy{Privileged: true, Hub: &desired.HubBounds{Application: "apps", Fleet: wide}}
				got := ""
				for _, v := range policy.Check(p, "shop", "shop", []*unstructured.Unstructured{obj}, policy.HubScope(nil)) {
					got = v.Reason
				}
				if got != want {
					t.Errorf("with Fleet %t: %q, want %q", wide, got, want)
				}
			}
		})
	}
}
