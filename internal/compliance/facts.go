package compliance

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/report"
)

// The facts of a namespace, which no policy about one object can tell.
const (
	DefaultDeny   = "network-default-deny"
	ResourceQuota = "resource-quota"
)

// Fact is a check beside the policies.
type Fact struct {
	Name, Title string
	Severity    Severity
	Controls    []string
}

// Facts are all of them.
var Facts = []Fact{
	{PodSecurity, "Pods keep to the Pod Security level of their namespace, and at least to Baseline", High,
		[]string{"soc2/CC6.1", "soc2/CC6.8", "iso27001/A.8.2", "iso27001/A.8.9", "hipaa/164.312(a)(1)", "gdpr/32(1)(b)", "dora/9(4)(c)"}},
	{DefaultDeny, "Every namespace has a NetworkPolicy that denies what no other allows", High,
		[]string{"soc2/CC6.6", "iso27001/A.8.20", "iso27001/A.8.22", "hipaa/164.312(e)(1)", "gdpr/32(1)(b)", "dora/9(4)(b)"}},
	{ResourceQuota, "Every namespace with workloads has a ResourceQuota", Medium,
		[]string{"soc2/A1.1", "iso27001/A.8.6", "gdpr/32(1)(b)", "dora/7(c)"}},
}

func factOf(name string) Fact {
	i := slices.IndexFunc(Facts, func(f Fact) bool { return f.Name == name })
	return Facts[i]
}

// SystemNamespaces are those of Kubernetes and of Atoll itself, which the facts and
// the starter set leave alone.
var SystemNamespaces = []string{"kube-system", "kube-public", "kube-node-lease", "atoll-system", "atoll-policies"}

func system(namespace string) bool { return slices.Contains(SystemNamespaces, namespace) }

func (f Fact) violation(w *world, o *object, effect Effect, message string, excuse *Exemption) Violation {
	return Violation{
		Policy: f.Name, Severity: f.Severity, Effect: effect, Controls: f.Controls, Object: o.ref,
		Rule: f.Name, Message: message, Owner: w.owner(o), Exemption: excuse,
	}
}

// inventory is what one namespace was found to have.
type inventory struct{ itself, workloads, denies, quota bool }

// facts judges the Namespaces that were given: of the others somebody else has the
// rest.
func (w *world) facts(now time.Time) []Violation {
	found := map[string]inventory{}
	for i := range w.objects {
		o := &w.objects[i]
		if o.namespace == "" || system(o.namespace) {
			continue
		}
		have := found[o.namespace]
		have.itself = have.itself || o.isNamespace()
		have.workloads = have.workloads || podTemplate(o.manifest) != nil
		have.denies = have.denies || deniesAll(o)
		have.quota = have.quota || isKind(o, "", "ResourceQuota")
		found[o.namespace] = have
	}
	var out []Violation
	for _, name := range slices.Sorted(maps.Keys(found)) {
		have, ns := found[name], w.namespace(name)
		if !have.itself {
			continue
		}
		o := &object{ref: report.ObjectRef{Version: "v1", Kind: "Namespace", Name: name}, namespace: name, manifest: &unstructured.Unstructured{Object: ns.object}}
		if !have.denies {
			f := factOf(DefaultDeny)
			out = append(out, f.violation(w, o, Audit, "no NetworkPolicy selects all pods and denies what comes in: traffic is allowed from everywhere", exemption(ns, f.Name, now)))
		}
		if have.workloads && !have.quota {
			f := factOf(ResourceQuota)
			out = append(out, f.violation(w, o, Audit, fmt.Sprintf("no ResourceQuota limits what %s takes from the others", name), exemption(ns, f.Name, now)))
		}
	}
	return out
}

func isKind(o *object, group, kind string) bool { return o.ref.Group == group && o.ref.Kind == kind }

// deniesAll tells a NetworkPolicy for every pod that lets nothing in.
func deniesAll(o *object) bool {
	if !isKind(o, "networking.k8s.io", "NetworkPolicy") {
		return false
	}
	spec, _ := o.manifest.Object["spec"].(map[string]any)
	selector, _ := spec["podSelector"].(map[string]any)
	for _, list := range []string{"matchExpressions", "matchLabels"} {
		switch given := selector[list].(type) {
		case []any:
			if len(given) > 0 {
				return false
			}
		case map[string]any:
			if len(given) > 0 {
				return false
			}
		}
	}
	types, _ := spec["policyTypes"].([]any)
	ingress, _ := spec["ingress"].([]any)
	// Without policyTypes a policy is about what comes in.
	return len(ingress) == 0 && (len(types) == 0 || slices.Contains(types, any("Ingress")))
}
