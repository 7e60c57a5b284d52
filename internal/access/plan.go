package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// Fleet is where a grant holds that is for all projects and what belongs to none.
const Fleet = ""

// Scopes are where a grant is for: Fleet, or names of projects. hub is the hub's own
// namespace.
func Scopes(g *v1alpha1.AccessGrant, hub string) []string {
	switch {
	case g.Namespace != hub:
		return []string{g.Namespace}
	case len(g.Spec.Projects) == 0:
		return []string{Fleet}
	}
	return slices.Compact(slices.Sorted(slices.Values(g.Spec.Projects)))
}

// Place is a scope in words.
func Place(scope string) string {
	if scope == Fleet {
		return "the fleet"
	}
	return "project " + scope
}

// Ended tells that a grant gives nothing any more.
func Ended(g *v1alpha1.AccessGrant, now time.Time) bool {
	return g.DeletionTimestamp != nil || g.Spec.Until != nil && !now.Before(g.Spec.Until.Time)
}

// Binding is a RoleBinding, or in the Fleet a ClusterRoleBinding, that a grant wants.
type Binding struct {
	Scope    string
	Name     string
	Role     string // the ClusterRole
	Subjects []rbacv1.Subject
	// Grant is whose it is, as "namespace/name".
	Grant string
}

// State is what a plan is made of.
type State struct {
	Grant *v1alpha1.AccessGrant
	// Hub is the hub's own namespace.
	Hub string
	// Closed are projects in which nothing can be given now, with the reason.
	Closed map[string]string
	Now    time.Time
}

// Plan is what becomes of a grant.
type Plan struct {
	Bindings []Binding
	Pending  []v1alpha1.PendingAccess
	// Wake is when to look again; zero is never.
	Wake time.Duration
	// Why is the state in words, Reason in one.
	Reason, Why string
}

// Holds tells that it holds everywhere.
func (p *Plan) Holds() bool { return p.Reason == ReasonGranted }

// The reasons of a grant's condition Ready.
const (
	ReasonGranted = "Granted"
	ReasonEnded   = "Ended"
	ReasonPending = "Pending"
)

// Make plans one grant.
func Make(s State) Plan {
	g := s.Grant
	if Ended(g, s.Now) {
		p := Plan{Reason: ReasonEnded, Why: "it is being deleted"}
		if g.DeletionTimestamp == nil {
			p.Why = "it ended at " + g.Spec.Until.UTC().Format(time.RFC3339)
		}
		return p
	}
	p := Plan{Reason: ReasonGranted}
	if g.Spec.Until != nil {
		p.Wake = g.Spec.Until.Sub(s.Now)
	}
	scopes := Scopes(g, s.Hub)
	for _, scope := range scopes {
		if why := s.Closed[scope]; why != "" && scope != Fleet {
			p.Pending = append(p.Pending, v1alpha1.PendingAccess{Project: scope, Reason: why})
			continue
		}
		p.Bindings = append(p.Bindings, binding(g, scope))
	}
	p.Why = fmt.Sprintf("role %s is given in %s", g.Spec.Role, Place(scopes[0]))
	if len(scopes) > 1 {
		p.Why = fmt.Sprintf("role %s is given in %d of %d projects", g.Spec.Role, len(p.Bindings), len(scopes))
	}
	if len(p.Pending) > 0 {
		p.Reason = ReasonPending
		p.Why = fmt.Sprintf("not given in %d of %d projects: %s", len(p.Pending), len(scopes), p.Pending[0].Reason)
	}
	return p
}

func binding(g *v1alpha1.AccessGrant, scope string) Binding {
	b := Binding{
		Scope: scope, Role: ClusterRole(g.Spec.Role), Grant: Key(g),
		// The role is in the name, for that of a binding cannot be changed.
		Name: prefix + g.Namespace + ":" + g.Name + ":" + string(g.Spec.Role),
	}
	for _, user := range slices.Sorted(slices.Values(g.Spec.Users)) {
		b.Subjects = append(b.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user})
	}
	for _, group := range slices.Sorted(slices.Values(g.Spec.Groups)) {
		b.Subjects = append(b.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group})
	}
	return b
}

// Key is how a grant is named in one word.
func Key(g *v1alpha1.AccessGrant) string { return g.Namespace + "/" + g.Name }

// Label is a label's value for a key, which may be longer than one.
func Label(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}
