package apply

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/health"
	"atoll.dev/atoll/internal/report"
)

// verdict is the health of one object.
type verdict struct {
	health  report.Health
	message string
	assumed bool
}

// healthRules are an application's compiled rules, and the kinds they are for.
type healthRules struct {
	rules *health.Rules
	kinds map[schema.GroupKind]bool
}

func (h healthRules) has(gk schema.GroupKind) bool { return h.kinds[gk] }

func compileHealth(rules []v1alpha1.HealthRule) (healthRules, error) {
	if len(rules) == 0 {
		return healthRules{}, nil
	}
	compiled, err := health.Compile(rules)
	if err != nil {
		return healthRules{}, err
	}
	h := healthRules{rules: compiled, kinds: map[schema.GroupKind]bool{}}
	for _, r := range rules {
		h.kinds[schema.GroupKind{Group: r.Group, Kind: r.Kind}] = true
	}
	return h, nil
}

// assess also says when to look again although nothing changes.
func assess(obj map[string]any, rules healthRules, firstSeen, now time.Time) (verdict, time.Time) {
	r := health.Assess(&unstructured.Unstructured{Object: obj}, rules.rules, firstSeen, now)
	return verdict{health: r.Health, message: r.Message, assumed: r.Assumed}, r.Recheck
}

// silentlyHealthy is the health of kinds whose existence is all there is.
func silentlyHealthy(terminating bool) verdict {
	if terminating {
		return verdict{health: report.HealthProgressing, message: "is being deleted"}
	}
	return verdict{health: report.HealthHealthy}
}

// plainKinds have no status worth judging and may be large or secret: of them
// only metadata is watched.
var plainKinds = map[schema.GroupKind]bool{
	{Kind: "ConfigMap"}:      true,
	{Kind: "Secret"}:         true,
	{Kind: "ServiceAccount"}: true,
	{Kind: "LimitRange"}:     true,
	{Kind: "Endpoints"}:      true,
	{Kind: "PodTemplate"}:    true,
	{Group: "rbac.authorization.k8s.io", Kind: "Role"}:                              true,
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}:                       true,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:                       true,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}:                true,
	{Group: "networking.k8s.io", Kind: "NetworkPolicy"}:                             true,
	{Group: "networking.k8s.io", Kind: "IngressClass"}:                              true,
	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}:                             true,
	{Group: "storage.k8s.io", Kind: "StorageClass"}:                                 true,
	{Group: "node.k8s.io", Kind: "RuntimeClass"}:                                    true,
	{Group: "discovery.k8s.io", Kind: "EndpointSlice"}:                              true,
	{Group: "coordination.k8s.io", Kind: "Lease"}:                                   true,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:   true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}: true,
}
