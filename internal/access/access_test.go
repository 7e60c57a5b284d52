package access

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
)

const hub = "atoll-system"

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func grant(namespace, name string, role v1alpha1.Role, change ...func(*v1alpha1.AccessGrantSpec)) *v1alpha1.AccessGrant {
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	g.Spec.Role = role
	for _, c := range change {
		c(&g.Spec)
	}
	return g
}

func to(users ...string) func(*v1alpha1.AccessGrantSpec) {
	return func(s *v1alpha1.AccessGrantSpec) { s.Users = users }
}

func toGroup(groups ...string) func(*v1alpha1.AccessGrantSpec) {
	return func(s *v1alpha1.AccessGrantSpec) { s.Groups = groups }
}

func in(projects ...string) func(*v1alpha1.AccessGrantSpec) {
	return func(s *v1alpha1.AccessGrantSpec) { s.Projects = projects }
}

func until(t time.Time) func(*v1alpha1.AccessGrantSpec) {
	return func(s *v1alpha1.AccessGrantSpec) { s.Until = &metav1.Time{Time: t} }
}

func rules(role v1alpha1.Role) []rbacv1.PolicyRule {
	r, _ := Find(ClusterRole(role))
	return r.Rules
}

// What is given must be held: an admin who holds less than a role could give more
// than they have.
func TestAnAdminHoldsEveryRoleButTheReadingOfSecrets(t *testing.T) {
	for _, role := range Roles() {
		covers, missing := validation.Covers(rules(v1alpha1.RoleAdmin), role.Rules)
		if want := role.Name != v1alpha1.RoleSecrets; covers != want {
			t.Errorf("admin covers %s: %v, without %v", role.Name, covers, missing)
		}
	}
}

func TestNoRoleAllowsMoreThanItIsFor(t *testing.T) {
	writes := []string{"create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "classify", "upgrade", "impersonate"}
	for _, role := range Roles() {
		for _, r := range role.Rules {
			for _, words := range [][]string{r.Verbs, r.APIGroups, r.Resources} {
				if slices.Contains(words, "*") {
					t.Errorf("role %s allows everything of %v", role.Name, r)
				}
			}
			others := slices.ContainsFunc(r.APIGroups, func(g string) bool { return g != atollGroup && g != fleetGroup })
			if others && role.Name != v1alpha1.RoleSecrets && len(r.ResourceNames) == 0 {
				t.Errorf("role %s speaks of what is not Atoll's: %v", role.Name, r)
			}
			if looks := role.Name == v1alpha1.RoleViewer || role.Name == v1alpha1.RoleAuditor; looks && slices.ContainsFunc(r.Verbs, func(v string) bool { return slices.Contains(writes, v) }) {
				t.Errorf("role %s writes: %v", role.Name, r)
			}
			for _, resource := range r.Resources {
				if slices.Contains([]string{"revisions", "applications/status"}, resource) && slices.ContainsFunc(r.Verbs, func(v string) bool { return slices.Contains(writes, v) }) {
					t.Errorf("role %s forges records: %v", role.Name, r)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		role                  v1alpha1.Role
		verb, group, resource string
		want                  bool
	}{
		"a developer deploys":                        {v1alpha1.RoleDeveloper, "create", atollGroup, "applications", true},
		"a developer does not approve":               {v1alpha1.RoleDeveloper, "patch", atollGroup, "rolloutruns", false},
		"a releaser approves":                        {v1alpha1.RoleReleaser, "patch", atollGroup, "rolloutruns", true},
		"a releaser uploads nothing":                 {v1alpha1.RoleReleaser, "create", fleetGroup, "contents", false},
		"an operator reaches into clusters":          {v1alpha1.RoleOperator, "get", fleetGroup, "clusters/proxy", true},
		"an operator does not say whose a region is": {v1alpha1.RoleOperator, "classify", atollGroup, "clusters", false},
		"an operator makes no projects":              {v1alpha1.RoleOperator, "create", atollGroup, "projects", false},
		"a viewer reads no grants":                   {v1alpha1.RoleViewer, "list", atollGroup, "accessgrants", false},
		"an auditor does":                            {v1alpha1.RoleAuditor, "list", atollGroup, "accessgrants", true},
		"an auditor reads what was done":             {v1alpha1.RoleAuditor, "get", fleetGroup, "audit", true},
		"an operator does not":                       {v1alpha1.RoleOperator, "get", fleetGroup, "audit", false},
		"a developer reads no Secrets":               {v1alpha1.RoleDeveloper, "get", "", "secrets", false},
	} {
		if got := Allows(rules(c.role), c.verb, c.group, c.resource); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// An admin, who reads no Secrets, would read them by a grant to themselves.
func TestRoleSecretsIsGivenByWhoHoldsIt(t *testing.T) {
	for _, role := range Roles() {
		gives := slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
			return slices.Contains(r.Verbs, "bind") && (len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, ClusterRole(v1alpha1.RoleSecrets)))
		})
		if gives != Allows(role.Rules, "get", "", "secrets") {
			t.Errorf("role %s gives role secrets: %v", role.Name, gives)
		}
	}
}

func TestAGrantBecomesBindingsWhereItIsFor(t *testing.T) {
	subject := func(kind, name string) rbacv1.Subject {
		return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
	}
	for name, c := range map[string]struct {
		grant  *v1alpha1.AccessGrant
		closed map[string]string
		want   Plan
	}{
		"in its project, whoever else is listed": {
			grant: grant("shop", "team", v1alpha1.RoleDeveloper, to("ben", "ann"), toGroup("team"), in("bank")),
			want: Plan{
				Bindings: []Binding{{
					Scope: "shop", Name: "atoll:shop:team:developer", Role: "atoll:developer", Grant: "shop/team",
					Subjects: []rbacv1.Subject{subject("User", "ann"), subject("User", "ben"), subject("Group", "team")},
				}},
				Reason: ReasonGranted, Why: "role developer is given in project shop",
			},
		},
		"in the fleet": {
			grant: grant(hub, "ops", v1alpha1.RoleOperator, toGroup("ops"), until(noon.Add(time.Hour))),
			want: Plan{
				Bindings: []Binding{{Name: "atoll:atoll-system:ops:operator", Role: "atoll:operator", Grant: "atoll-system/ops", Subjects: []rbacv1.Subject{subject("Group", "ops")}}},
				Reason:   ReasonGranted, Why: "role operator is given in the fleet", Wake: time.Hour,
			},
		},
		"in two projects, one of which is not there": {
			grant: grant(hub, "help", v1alpha1.RoleViewer, to("ann"), in("shop", "bank")), closed: map[string]string{"bank": "there is no project bank"},
			want: Plan{
				Bindings: []Binding{{Scope: "shop", Name: "atoll:atoll-system:help:viewer", Role: "atoll:viewer", Grant: "atoll-system/help", Subjects: []rbacv1.Subject{subject("User", "ann")}}},
				Pending:  []v1alpha1.PendingAccess{{Project: "bank", Reason: "there is no project bank"}},
				Reason:   ReasonPending, Why: "not given in 1 of 2 projects: there is no project bank",
			},
		},
		"nowhere when it is over, to the second": {
			grant: grant("shop", "night", v1alpha1.RoleAdmin, to("ann"), until(noon)),
			want:  Plan{Reason: ReasonEnded, Why: "it ended at 2026-05-04T12:00:00Z"},
		},
		"nowhere when it is being deleted": {
			grant: func() *v1alpha1.AccessGrant {
				g := grant("shop", "gone", v1alpha1.RoleAdmin, to("ann"))
				g.DeletionTimestamp = &metav1.Time{Time: noon}
				return g
			}(),
			want: Plan{Reason: ReasonEnded, Why: "it is being deleted"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Make(State{Grant: c.grant, Hub: hub, Closed: c.closed, Now: noon})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAGrantIsRefusedWhereItHasNoPlace(t *testing.T) {
	for name, c := range map[string]struct {
		grant  *v1alpha1.AccessGrant
		shared bool
		field  string
	}{
		"one that is over":                       {grant: grant("shop", "g", v1alpha1.RoleViewer, to("ann"), until(noon)), field: "spec.until"},
		"other projects, from within one":        {grant: grant("shop", "g", v1alpha1.RoleViewer, to("ann"), in("bank")), field: "spec.projects"},
		"the hub's own Secrets":                  {grant: grant(hub, "g", v1alpha1.RoleSecrets, to("ann")), field: "spec.projects"},
		"the hub's own Secrets, as of a project": {grant: grant(hub, "g", v1alpha1.RoleSecrets, to("ann"), in(hub)), field: "spec.projects[0]"},
		"Secrets of a cluster of others":         {grant: grant("shop", "g", v1alpha1.RoleSecrets, to("ann")), shared: true, field: "spec.role"},
		"":                                       {grant: grant("shop", "g", v1alpha1.RoleSecrets, to("ann"), until(noon.Add(time.Second)))},
	} {
		var fields []string
		for _, err := range Refuse(c.grant, hub, c.shared, noon) {
			fields = append(fields, err.Field)
		}
		if want := slices.DeleteFunc([]string{c.field}, func(f string) bool { return f == "" }); !slices.Equal(fields, want) {
			t.Errorf("%s: refused for %q, want %q", name, fields, want)
		}
	}
}

func TestWhoMayDoWhatIsAnsweredWithTheGrant(t *testing.T) {
	later := noon.Add(time.Hour)
	grants := []v1alpha1.AccessGrant{
		*grant("shop", "team", v1alpha1.RoleDeveloper, toGroup("team")),
		*grant("bank", "tellers", v1alpha1.RoleDeveloper, to("ann"), until(later)),
		*grant(hub, "ops", v1alpha1.RoleOperator, to("olga")),
		*grant(hub, "leads", v1alpha1.RoleAdmin, to("ann"), in("shop")),
		*grant("shop", "past", v1alpha1.RoleAdmin, to("eve"), until(noon)),
	}
	held := Everything(grants, hub, noon)
	grantsOf := func(list []Held) (out []string) {
		for _, h := range list {
			out = append(out, h.Name+" by "+h.Grant)
		}
		return out
	}
	for name, c := range map[string]struct {
		got  []Held
		want []string
	}{
		"a person":                       {Of(held, Who{User: "ann"}), []string{"ann by bank/tellers", "ann by atoll-system/leads"}},
		"a person and their group":       {Of(held, Who{User: "zoe", Groups: []string{"team"}}), []string{"team by shop/team"}},
		"a user is no group of the name": {Of(held, Who{User: "team"}), nil},
		"whose time is over":             {Of(held, Who{User: "eve"}), nil},
		"nobody at all":                  {Of(held, Who{}), nil},
		"who deploys in shop":            {Can(held, "create", Resources["applications"], "shop"), []string{"ann by atoll-system/leads", "team by shop/team"}},
		"who changes apps in bank":       {Can(held, "patch", Resources["applications"], "bank"), []string{"olga by atoll-system/ops", "ann by bank/tellers"}},
		"who reaches into clusters":      {Can(held, "create", Resources["proxy"], ""), []string{"olga by atoll-system/ops"}},
		"who gives roles":                {Can(held, "create", Resources["accessgrants"], "shop"), []string{"ann by atoll-system/leads"}},
	} {
		got := grantsOf(c.got)
		slices.Sort(got)
		want := slices.Clone(c.want)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// However grants are written: what is bound is what was asked for, where it may be, and
// never after its end.
func TestBindingsNeverGoBeyondTheGrant(t *testing.T) {
	name := rapid.StringMatching(`[a-d]`)
	rapid.Check(t, func(t *rapid.T) {
		g := grant(rapid.SampledFrom([]string{hub, "a", "b"}).Draw(t, "namespace"), "g", rapid.SampledFrom(names).Draw(t, "role"),
			to(rapid.SliceOfN(name, 0, 3).Draw(t, "users")...), toGroup(rapid.SliceOfN(name, 0, 3).Draw(t, "groups")...),
			in(rapid.SliceOfN(name, 0, 4).Draw(t, "projects")...))
		if rapid.Bool().Draw(t, "ends") {
			until(noon.Add(time.Duration(rapid.IntRange(-3, 3).Draw(t, "seconds")) * time.Second))(&g.Spec)
		}
		closed := map[string]string{}
		for _, p := range rapid.SliceOf(name).Draw(t, "closed") {
			closed[p] = "closed"
		}
		plan := Make(State{Grant: g, Hub: hub, Closed: closed, Now: noon})
		if over := g.Spec.Until != nil && !noon.Before(g.Spec.Until.Time); over != Ended(g, noon) || over && len(plan.Bindings)+int(plan.Wake) > 0 {
			t.Fatalf("after its end: %+v", plan)
		}
		if !Ended(g, noon) && len(plan.Bindings)+len(plan.Pending) != len(Scopes(g, hub)) {
			t.Fatalf("some places are forgotten, or counted twice: %+v", plan)
		}
		for _, b := range plan.Bindings {
			if b.Scope == Fleet && (g.Namespace != hub || len(g.Spec.Projects) > 0) || b.Scope != Fleet && closed[b.Scope] != "" ||
				g.Namespace != hub && b.Scope != g.Namespace || b.Role != ClusterRole(g.Spec.Role) {
				t.Fatalf("%+v is bound for %+v", b, g.Spec)
			}
			for _, s := range b.Subjects {
				if !slices.Contains(map[string][]string{"User": g.Spec.Users, "Group": g.Spec.Groups}[s.Kind], s.Name) {
					t.Fatalf("%s %s was given nothing", s.Kind, s.Name)
				}
			}
		}
	})
}
