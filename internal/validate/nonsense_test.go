package validate_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1/crds"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/validate"
)

// nonsense is refused by the schema or by this package, naming field.
var nonsense = []struct{ name, manifest, field string }{
	{"a cluster without an owner", `{kind: Cluster, metadata: {name: x}, spec: {}}`, "spec.owner"},
	{"an owner of blanks", `{kind: Cluster, metadata: {name: x}, spec: {owner: "  "}}`, "spec.owner"},
	{"an owner of the wrong type", `{kind: Cluster, metadata: {name: x}, spec: {owner: 7}}`, "spec.owner"},
	{"an unknown field", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, regoin: eu}}`, "spec.regoin"},
	{"a cluster named with a dot", `{kind: Cluster, metadata: {name: eu.west}, spec: {owner: a}}`, "metadata.name"},
	{"a cluster that starts with a digit", `{kind: Cluster, metadata: {name: 1x}, spec: {owner: a}}`, "metadata.name"},
	{"a jurisdiction in capitals", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, jurisdiction: EU}}`, "spec.jurisdiction"},
	{"a profile that does not exist", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, profile: root}}`, "spec.profile"},
	{"a taint with a strange effect", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, taints: [{key: gpu, effect: Explode}]}}`, "spec.taints[0].effect"},
	{"the same taint twice", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, taints: [{key: gpu, effect: NoSelect}, {key: gpu, value: b, effect: NoSelect}]}}`, "spec.taints[1]"},
	{"a taint whose key is no label", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, taints: [{key: "a b", effect: NoSelect}]}}`, "spec.taints[0].key"},
	{"a framework twice", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, frameworks: [soc2, soc2]}}`, "spec.frameworks[1]"},
	{"direct access to nothing", `{kind: Cluster, metadata: {name: x}, spec: {owner: a, direct: {secretName: ""}}}`, "spec.direct.secretName"},
	{"an owner of two lines", `{kind: Cluster, metadata: {name: x}, spec: {owner: "a\nb"}}`, "spec.owner"},

	{"a project that owns every namespace", `{kind: Project, metadata: {name: x}, spec: {namespaces: ["*"]}}`, "spec.namespaces[0]"},
	{"a project that owns kube-system", `{kind: Project, metadata: {name: x}, spec: {namespaces: [kube-system]}}`, "spec.namespaces"},
	{"a star in the middle", `{kind: Project, metadata: {name: x}, spec: {namespaces: ["a*b"]}}`, "spec.namespaces[0]"},
	{"a selector that does not parse", `{kind: Project, metadata: {name: x}, spec: {clusters: "stage in"}}`, "spec.clusters"},
	{"a kind with its version", `{kind: Project, metadata: {name: x}, spec: {kinds: [{group: apps/v1, kind: Deployment}]}}`, "spec.kinds[0].group"},
	{"a kind in small letters", `{kind: Project, metadata: {name: x}, spec: {kinds: [{kind: deployment}]}}`, "spec.kinds[0].kind"},
	{"the hub's own kinds", `{kind: Project, metadata: {name: x}, spec: {kinds: [{group: atoll.dev, kind: "*"}]}}`, "spec.kinds[0].group"},
	{"a residency of nothing", `{kind: Project, metadata: {name: x}, spec: {residency: {}}}`, "spec.residency"},
	{"an empty jurisdiction", `{kind: Project, metadata: {name: x}, spec: {residency: {jurisdictions: [""]}}}`, "spec.residency.jurisdictions[0]"},
	{"a negative budget", `{kind: Project, metadata: {name: x}, spec: {deletionBudget: -1}}`, "spec.deletionBudget"},
	{"a project in the hub's own namespace", `{kind: Project, metadata: {name: kube-system}, spec: {}}`, "metadata.name"},

	{"a grant to nobody", `{kind: AccessGrant, metadata: {name: x}, spec: {role: viewer}}`, "spec"},
	{"a grant to two empty lists", `{kind: AccessGrant, metadata: {name: x}, spec: {role: viewer, users: [], groups: []}}`, "spec"},
	{"a grant to those who may do everything", `{kind: AccessGrant, metadata: {name: x}, spec: {role: viewer, groups: ["system:masters"]}}`, "spec.groups[0]"},
	{"a grant to everybody", `{kind: AccessGrant, metadata: {name: x}, spec: {role: viewer, groups: [ours, "system:authenticated"]}}`, "spec.groups[1]"},
	{"a grant to an account of Kubernetes", `{kind: AccessGrant, metadata: {name: x}, spec: {role: viewer, users: ["system:serviceaccount:a:b"]}}`, "spec.users[0]"},
	{"a grant to a name of two lines", `{kind: AccessGrant, metadata: {name: x}, spec: {role: viewer, users: ["ann\neve"]}}`, "spec.users[0]"},
	{"a grant to a name that ends in a blank", `{kind: AccessGrant, metadata: {name: x}, spec: {role: viewer, users: ["ann "]}}`, "spec.users[0]"},
	{"a grant of a role that there is not", `{kind: AccessGrant, metadata: {name: x}, spec: {role: root, users: [ann]}}`, "spec.role"},
	{"a grant for everything by a star", `{kind: AccessGrant, metadata: {name: x}, spec: {role: viewer, users: [ann], projects: ["*"]}}`, "spec.projects[0]"},
	{"a grant until some day", `{kind: AccessGrant, metadata: {name: x}, spec: {role: viewer, users: [ann], until: tomorrow}}`, "spec.until"},

	{"a wave of nothing", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {waves: [{}]}}}`, "spec.rollout.waves[0]"},
	{"a wave by share and count", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {waves: [{share: 10%, count: 2}]}}}`, "spec.rollout.waves[0]"},
	{"a wave of more than all", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {waves: [{share: "101%"}]}}}`, "spec.rollout.waves[0].share"},
	{"a wave whose selector does not parse", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {waves: [{clusters: "stage in"}]}}}`, "spec.rollout.waves[0].clusters"},
	{"a wave that soaks backwards", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {waves: [{count: 1, soak: -5m}]}}}`, "spec.rollout.waves[0].soak"},
	{"a window at an hour that no day has", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {windows: [{schedule: "0 25 * * *", duration: 1h}]}}}`, "spec.rollout.windows"},
	{"a window by the clocks of nowhere", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {windows: [{schedule: "0 2 * * *", duration: 1h, timeZone: Europe/Berlln}]}}}`, "spec.rollout.windows"},
	{"a gate over what nobody reports", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {waves: [{count: 1, gates: [{name: g, cel: "report.redy > 0"}]}]}}}`, "spec.rollout.waves[0].gates[0].cel"},
	{"a freeze without a reason", `{kind: Project, metadata: {name: x}, spec: {freeze: {by: anna}}}`, "spec.freeze.reason"},
	{"no cluster may be under way", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {maxUnavailable: 0}}}`, "spec.rollout.maxUnavailable"},
	{"half a cluster may be under way", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {maxUnavailable: "0.5"}}}`, "spec.rollout.maxUnavailable"},
	{"a retry that waits less and less", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, sync: {retry: {backoff: {duration: 1m, maxDuration: 1s}}}}}`, "spec.sync.retry.backoff.maxDuration"},
	{"a retry without any patience", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, sync: {retry: {limit: 5, backoff: {duration: 1ms}}}}}`, "spec.sync.retry.backoff.duration"},
	{"a deadline that is over at once", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {progressDeadline: 1s}}}`, "spec.rollout.progressDeadline"},
	{"a failure that is ignored", `{kind: Application, metadata: {name: x}, spec: {source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"}, rollout: {onFailure: Ignore}}}`, "spec.rollout.onFailure"},

	{"a placement of nothing", `{kind: Placement, metadata: {name: x}, spec: {}}`, "spec"},
	{"a placement of blanks", `{kind: Placement, metadata: {name: x}, spec: {clusters: " "}}`, "spec"},
	{"a count of zero", `{kind: Placement, metadata: {name: x}, spec: {clusters: a=b, count: 0}}`, "spec.count"},
	{"a count beyond the names", `{kind: Placement, metadata: {name: x}, spec: {names: [a], count: 2}}`, "spec.count"},
	{"a condition with a misspelt field", `{kind: Placement, metadata: {name: x}, spec: {where: "cluster.regoin == 'a'"}}`, "spec.where"},
	{"a condition that is no condition", `{kind: Placement, metadata: {name: x}, spec: {where: "cluster.region"}}`, "spec.where"},
	{"a cluster's name with a star", `{kind: Placement, metadata: {name: x}, spec: {names: ["eu-*"]}}`, "spec.names[0]"},
	{"a toleration of nothing", `{kind: Placement, metadata: {name: x}, spec: {clusters: a=b, tolerations: [{key: ""}]}}`, "spec.tolerations[0].key"},

	{"an application without a source", `{kind: Application, metadata: {name: x}, spec: {source: {}}}`, "spec.source"},
	{"one with two sources", `{kind: Application, metadata: {name: x}, spec: {source: {inline: a, content: {digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}}}}`, "spec.source"},
	{"a digest that is none", `{kind: Application, metadata: {name: x}, spec: {source: {content: {digest: latest}}}}`, "spec.source.content.digest"},
	{"a repository beside inline", app("source: {inline: a, git: {url: 'https://h/p'}}"), "spec.source"},
	{"a repository on the hub's disk", app("source: {git: {url: 'file:///etc'}}"), "spec.source.git.url"},
	{"a repository with its password", app("source: {git: {url: 'https://a:hunter2@h/p'}}"), "spec.source.git.url"},
	{"a branch and a tag", app("source: {git: {url: 'https://h/p', ref: {branch: a, tag: b}}}"), "spec.source.git.ref"},
	{"half a commit", app("source: {git: {url: 'https://h/p', ref: {commit: abc}}}"), "spec.source.git.ref"},
	{"no range of versions", app("source: {git: {url: 'https://h/p', ref: {semver: '>>1'}}}"), "spec.source.git.ref"},
	{"a folder out of the repository", app("source: {git: {url: 'https://h/p', path: '../x'}}"), "spec.source.git.path"},
	{"a repository asked without pause", app("source: {git: {url: 'https://h/p', interval: 1s}}"), "spec.source.git.interval"},
	{"a chart's values beside inline", app("source: {inline: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}', helm: {skipHooks: true}}"), "spec.source"},
	{"values from afar", app("source: {git: {url: 'https://h/p'}, helm: {valuesFiles: ['https://h/v.yaml']}}"), "spec.source.helm.valuesFiles[0]"},
	{"a folder that is two things", app("source: {git: {url: 'https://h/p'}, helm: {}, kustomize: {}}"), "spec.source"},
	{"an image replaced by nothing", app("source: {git: {url: 'https://h/p'}, kustomize: {images: [{name: web}]}}"), "spec.source.kustomize.images[0]"},
	{"inline that is no YAML", app("source: {inline: \"a: [\"}"), "spec.source.inline"},
	{"inline of nothing", app("source: {inline: \"# nothing\"}"), "spec.source.inline"},
	{"inline Secret values", app("source: {inline: '{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {p: hunter2}}'}"), "spec.source.inline"},
	{"a reference to what can't be bound", app("lateBinding: true, source: {inline: '{apiVersion: v1, kind: ConfigMap, metadata: {name: s}, data: {p: \"${atoll:moon.phase}\"}}'}"), "spec.source.inline"},
	{"a placement that says nothing", app(configMap + ", placement: {}"), "spec.placement"},
	{"a reference beside a rule", app(configMap + ", placement: {ref: prod, clusters: a=b}"), "spec.placement"},
	{"an unknown drift mode", app(configMap + ", drift: {mode: Maybe}"), "spec.drift.mode"},
	{"a field path that does not parse", app(configMap + `, drift: {ignore: [{paths: ["spec.containers[name"]}]}`), "spec.drift.ignore[0].paths[0]"},
	{"an ignore rule without a path", app(configMap + `, drift: {ignore: [{kind: Deployment, paths: []}]}`), "spec.drift.ignore[0].paths"},
	{"the agent's namespace", app(configMap + ", namespace: atoll-system"), "spec.namespace"},
	{"a namespace in capitals", app(configMap + ", namespace: Shop"), "spec.namespace"},
	{"variables that nothing binds", app(configMap + ", variables: {a: b}"), "spec.variables"},
	{"a variable with a strange name", app(configMap + `, lateBinding: true, variables: {"a b": c}`), "spec.variables[a b]"},
	{"an unknown deletion policy", app(configMap + ", onDelete: Burn"), "spec.onDelete"},
	{"a health rule that does not compile", app(configMap + ", health: [{kind: Widget, healthy: 'object.status ='}]"), "spec.health[0].healthy"},
	{"two health rules for a kind", app(configMap + ", health: [{kind: Widget, healthy: 'true'}, {kind: Widget, healthy: 'true'}]"), "spec.health[1]"},
	{"a list where a map belongs", `{kind: Application, metadata: {name: x}, spec: []}`, "spec"},

	{"a revision named by hand", `{kind: Revision, metadata: {name: mine}, spec: {application: shop, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", objects: 1, bytes: 1}}`, "metadata.name"},
	{"a revision of minus one object", `{kind: Revision, metadata: {name: shop-000000000000}, spec: {application: shop, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", objects: -1, bytes: 1}}`, "spec.objects"},
}

const configMap = `source: {inline: '{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}'}`

func app(spec string) string {
	return `{kind: Application, metadata: {name: x}, spec: {` + spec + `}}`
}

// sense is accepted by both.
var sense = []string{
	`{kind: Cluster, metadata: {name: us-east-1}, spec: {owner: Team Red, provider: eks, region: us-east-1, jurisdiction: us, account: "123", frameworks: [soc2], taints: [{key: a.b/gpu, value: x, effect: NoSelect}], profile: full}}`,
	`{kind: Project, metadata: {name: shop}, spec: {clusters: "stage in (production,staging)", namespaces: [shop, "shop-*"], kinds: [{group: storage.k8s.io, kind: "*"}], residency: {jurisdictions: [eu]}, deletionBudget: 0}}`,
	`{kind: Project, metadata: {name: minimal}, spec: {}}`,
	`{kind: Placement, metadata: {name: prod}, spec: {clusters: stage=production, where: "cluster.facts.nodes > 2", count: 2, tolerations: [{key: gpu}]}}`,
	app(configMap),
	app(configMap + `, placement: {clusters: stage=production}, drift: {mode: Report, ignore: [{group: apps, kind: Deployment, paths: ["spec.template.spec.containers[name=web].resources"]}]}, lateBinding: true, variables: {color: red}, onDelete: Delete`),
	app(configMap + `, placement: {ref: prod, tolerations: [{key: gpu}]}, health: [{group: example.com, kind: Widget, healthy: "object.status.phase == 'Ready'"}]`),
	app(`source: {content: {digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", origin: deploy/}}`),
	`{kind: AccessGrant, metadata: {name: team}, spec: {role: developer, users: ["ann@example.com", "Zoë van Dyk"], groups: ["oidc:team/shop"], projects: [shop], until: "2031-01-02T03:04:05Z", reason: they run it}}`,
	`{kind: Revision, metadata: {name: shop-000000000000}, spec: {application: shop, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", objects: 1, bytes: 10}}`,
}

func parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatal(err)
	}
	u.SetAPIVersion("atoll.dev/v1alpha1")
	return u
}

// admission is a real API server with our schemas, followed by this package, as
// in the hub.
type admission struct{ client dynamic.Interface }

func (a admission) submit(t *testing.T, u *unstructured.Unstructured) error {
	resources := a.client.Resource(schema.GroupVersionResource{Group: "atoll.dev", Version: "v1alpha1", Resource: strings.ToLower(u.GetKind()) + "s"})
	var target dynamic.ResourceInterface = resources
	if slices.Contains([]string{"Application", "Revision", "AccessGrant"}, u.GetKind()) {
		target = resources.Namespace("default")
	}
	stored, err := target.Create(t.Context(), u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		return err
	}
	return validate.Object(stored.GroupVersionKind(), stored, nil)
}

func startAdmission(t *testing.T) admission {
	t.Helper()
	config, err := sandbox.Shared(t, "schemas").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	resource := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, definition := range definitions {
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(definition)
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: object}
		u.SetAPIVersion("apiextensions.k8s.io/v1")
		u.SetKind("CustomResourceDefinition")
		if _, err := resource.Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatalf("create %s: %v", u.GetName(), err)
		}
	}
	a := admission{client}
	served := func(manifest string) wait.ConditionWithContextFunc {
		return func(context.Context) (bool, error) {
			return !apierrors.IsNotFound(a.submit(t, parse(t, manifest))), nil
		}
	}
	for _, manifest := range sense {
		if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, served(manifest)); err != nil {
			t.Fatalf("wait until %s is served: %v", manifest, err)
		}
	}
	return a
}

func TestNonsenseIsRefusedByFieldOnARealAPIServer(t *testing.T) {
	a := startAdmission(t)
	for _, manifest := range sense {
		if err := a.submit(t, parse(t, manifest)); err != nil {
			t.Errorf("%s: %v", manifest, err)
		}
	}
	for _, tc := range nonsense {
		t.Run(tc.name, func(t *testing.T) {
			err := a.submit(t, parse(t, tc.manifest))
			if err == nil {
				t.Fatalf("accepted: %s", tc.manifest)
			}
			t.Log(err)
			if !strings.Contains(err.Error(), tc.field) {
				t.Errorf("the refusal does not name %s: %v", tc.field, err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the refusal quotes a Secret's value: %v", err)
			}
		})
	}
}
