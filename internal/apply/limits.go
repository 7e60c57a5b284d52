package apply

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
)

const systemNamespace = v1alpha1.SystemNamespace

// limitsName is the ConfigMap by which the member's owner limits the hub. It
// lies in the system namespace, where nothing is ever delivered, so the hub
// cannot write it.
const limitsName = "atoll-limits"

// Limits is what the member forbids.
type Limits struct {
	// Kinds are forbidden kinds: "Secret", "RoleBinding.rbac.authorization.k8s.io",
	// "*.example.com".
	Kinds []string
	// Namespaces are names, or prefixes ending in "*".
	Namespaces []string
	Deletions  bool
	Exec       bool
	Logs       bool
	Tunnel     bool
	// Upgrades are the agent's, which the hub may wish for.
	Upgrades bool
	// Wrong names keys that could not be read; what they say is then forbidden
	// rather than allowed.
	Wrong []string
}

// parseLimits reads the ConfigMap's data. Nonsense forbids: a typo must not
// open what its author meant to close.
func parseLimits(data map[string]string) Limits {
	var l Limits
	flags := map[string]*bool{
		"forbidDeletions": &l.Deletions, "forbidExec": &l.Exec, "forbidLogs": &l.Logs, "forbidTunnel": &l.Tunnel,
		"forbidUpgrades": &l.Upgrades,
	}
	for key, value := range data {
		flag, isFlag := flags[key]
		switch {
		case key == "forbidKinds":
			l.Kinds = words(value)
		case key == "forbidNamespaces":
			l.Namespaces = words(value)
		case !isFlag:
			l.Wrong = append(l.Wrong, fmt.Sprintf("%s is not a limit", key))
		default:
			v := strings.ToLower(strings.TrimSpace(value))
			*flag = v != "false" && v != ""
			if v != "false" && v != "true" && v != "" {
				l.Wrong = append(l.Wrong, fmt.Sprintf("%s is neither true nor false, so it forbids", key))
			}
		}
	}
	slices.Sort(l.Wrong)
	return l
}

func words(s string) []string {
	list := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' || r == '\r' })
	slices.Sort(list)
	return slices.Compact(list)
}

// refuses says why an object may not be delivered here, or "".
func (l Limits) refuses(id ID) string {
	if match := l.kind(id.GroupKind()); match != "" {
		return fmt.Sprintf("the member forbids the kind %s (ConfigMap %s in %s); ask the cluster's owner", match, limitsName, systemNamespace)
	}
	namespace := id.Namespace
	if id.GroupKind() == namespaceKind {
		namespace = id.Name
	}
	for _, pattern := range l.Namespaces {
		prefix, isPrefix := strings.CutSuffix(pattern, "*")
		if namespace != "" && (namespace == pattern || isPrefix && strings.HasPrefix(namespace, prefix)) {
			return fmt.Sprintf("the member forbids the namespace %s (ConfigMap %s in %s); ask the cluster's owner", namespace, limitsName, systemNamespace)
		}
	}
	return ""
}

func (l Limits) kind(gk schema.GroupKind) string {
	for _, k := range l.Kinds {
		kind, group, _ := strings.Cut(k, ".")
		if (kind == "*" || strings.EqualFold(kind, gk.Kind)) && group == gk.Group {
			return k
		}
	}
	return ""
}

// Words lists the limits for people.
func (l Limits) Words() []string {
	var out []string
	if len(l.Kinds) > 0 {
		out = append(out, "forbids kinds "+strings.Join(l.Kinds, ", "))
	}
	if len(l.Namespaces) > 0 {
		out = append(out, "forbids namespaces "+strings.Join(l.Namespaces, ", "))
	}
	for _, f := range []struct {
		set  bool
		text string
	}{
		{l.Deletions, "forbids deletions"}, {l.Exec, "forbids exec"}, {l.Logs, "forbids logs"}, {l.Tunnel, "forbids the tunnel"},
		{l.Upgrades, "forbids upgrades of the agent"},
	} {
		if f.set {
			out = append(out, f.text)
		}
	}
	return append(out, l.Wrong...)
}
