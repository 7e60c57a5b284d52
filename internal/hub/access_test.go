package hub

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
)

// as acts as somebody with no group but that of everybody.
func (b *bench) as(user string) client.Client {
	b.Helper()
	config := rest.CopyConfig(b.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	c, err := client.New(config, client.Options{Scheme: b.client.Scheme(), Mapper: b.client.RESTMapper()})
	b.must(err)
	return c
}

func given(namespace, name string, role v1alpha1.Role, user string) *v1alpha1.AccessGrant {
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	g.Spec.Role, g.Spec.Users = role, []string{user}
	return g
}

// holds waits until the grant says of itself what it should.
func (b *bench) holds(g *v1alpha1.AccessGrant, reason, says string) {
	b.Helper()
	b.eventually("grant "+g.Name+" is "+reason, func() error {
		now := &v1alpha1.AccessGrant{}
		if err := b.client.Get(b.Context(), client.ObjectKeyFromObject(g), now); err != nil {
			return err
		}
		ready := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != reason || !strings.Contains(ready.Message, says) {
			return fmt.Errorf("it says %+v", ready)
		}
		return nil
	})
}

// may is nil once somebody can make an application in a project.
func (b *bench) may(c client.Client, project string) error {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: "tried"}}
	app.Spec.Source.Inline = fmt.Sprintf(manifest, "tried")
	return c.Create(b.Context(), app, client.DryRunAll)
}

func (b *bench) refused(what string, err error, says string) {
	b.Helper()
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says) {
		b.Errorf("%s: want a refusal with %q, got %v", what, says, err)
	}
}

// bindings are those that a grant has.
func (b *bench) bindings(g *v1alpha1.AccessGrant) []rbacv1.RoleBinding {
	b.Helper()
	var all rbacv1.RoleBindingList
	b.must(b.client.List(b.Context(), &all, client.HasLabels{"atoll.dev/access"}))
	var out []rbacv1.RoleBinding
	for _, one := range all.Items {
		if one.Annotations["atoll.dev/grant"] == g.Namespace+"/"+g.Name {
			out = append(out, one)
		}
	}
	return out
}

func TestAGrantGivesWhatItSaysAndNothingElse(t *testing.T) {
	b := hubOf(t)
	b.project("given")
	b.project("not-given")
	g := given("given", "team", v1alpha1.RoleDeveloper, "ann")
	b.create(g)
	ann := b.as("ann")
	b.eventually("ann may deploy", func() error { return b.may(ann, "given") })
	b.holds(g, "Granted", "role developer is given in project given")
	for what, err := range map[string]error{
		"another project":     b.may(ann, "not-given"),
		"its applications":    ann.List(t.Context(), &v1alpha1.ApplicationList{}, client.InNamespace("not-given")),
		"all applications":    ann.List(t.Context(), &v1alpha1.ApplicationList{}),
		"clusters":            ann.List(t.Context(), &v1alpha1.ClusterList{}),
		"Secrets of her own":  ann.List(t.Context(), &corev1.SecretList{}, client.InNamespace("given")),
		"rollouts to approve": ann.Patch(t.Context(), &v1alpha1.RolloutRun{ObjectMeta: metav1.ObjectMeta{Namespace: "given", Name: "r"}}, client.RawPatch("application/merge-patch+json", []byte(`{}`))),
		"grants":              ann.Create(t.Context(), given("given", "more", v1alpha1.RoleViewer, "ann")),
	} {
		b.refused(what, err, "cannot")
	}

	t.Run("and is put back when somebody changes what it made", func(t *testing.T) {
		b := &bench{T: t, world: b.world}
		made := b.bindings(g)
		if len(made) != 1 {
			t.Fatalf("it made %d bindings", len(made))
		}
		b.must(b.client.Delete(t.Context(), &made[0]))
		b.eventually("it is there again", func() error {
			if n := len(b.bindings(g)); n != 1 {
				return fmt.Errorf("%d bindings", n)
			}
			return nil
		})
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "atoll:viewer"}}
		b.must(b.client.Get(t.Context(), client.ObjectKeyFromObject(role), role))
		rules := len(role.Rules)
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}})
		b.must(b.client.Update(t.Context(), role))
		b.eventually("the role is as it was", func() error {
			if err := b.client.Get(t.Context(), client.ObjectKeyFromObject(role), role); err != nil || len(role.Rules) != rules {
				return fmt.Errorf("%d rules, not %d: %w", len(role.Rules), rules, err)
			}
			return nil
		})
	})
	t.Run("until it is deleted", func(t *testing.T) {
		b := &bench{T: t, world: b.world}
		b.must(b.client.Delete(t.Context(), g))
		b.eventually("it is gone", func() error {
			if err := b.client.Get(t.Context(), client.ObjectKeyFromObject(g), &v1alpha1.AccessGrant{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there: %w", err)
			}
			return nil
		})
		if left := b.bindings(g); len(left) > 0 {
			t.Errorf("the grant is gone, and its bindings are not: %+v", left)
		}
		b.eventually("ann may no longer deploy", func() error {
			if err := b.may(ann, "given"); !apierrors.IsForbidden(err) {
				return fmt.Errorf("she may: %w", err)
			}
			return nil
		})
	})
	t.Run("or its time is over", func(t *testing.T) {
		b := &bench{T: t, world: b.world}
		short := given("given", "short", v1alpha1.RoleDeveloper, "ann")
		for span := time.Second; ; span *= 2 { // on a busy machine a second is over before it is written
			short.Spec.Until = &metav1.Time{Time: time.Now().Add(span)}
			err := b.client.Create(t.Context(), short)
			if err == nil {
				break
			}
			b.refused("an end in the past", err, "spec.until")
		}
		b.holds(short, "Ended", "it ended at")
		if left := b.bindings(short); len(left) > 0 {
			t.Errorf("it has ended, and its bindings have not: %+v", left)
		}
	})
	t.Run("in the projects that are there", func(t *testing.T) {
		b := &bench{T: t, world: b.world}
		wide := given("atoll-system", "wide", v1alpha1.RoleSecrets, "sue")
		wide.Spec.Projects = []string{"given", "given-later"}
		b.create(wide)
		b.holds(wide, "Pending", "there is no project given-later")
		sue := b.as("sue")
		b.eventually("sue reads what applications take values from", func() error {
			return sue.List(t.Context(), &corev1.SecretList{}, client.InNamespace("given"))
		})
		b.refused("the hub's own Secrets", sue.List(t.Context(), &corev1.SecretList{}, client.InNamespace("atoll-system")), "cannot list")
		b.project("given-later")
		b.holds(wide, "Granted", "in 2 of 2 projects")
		b.must(b.client.Delete(t.Context(), wide))
	})
}

// Nobody gives what they do not hold, on whatever way.
func TestNobodyGivesMoreThanTheyHold(t *testing.T) {
	b := hubOf(t)
	b.project("led")
	b.project("not-led")
	lead := given("led", "lead", v1alpha1.RoleAdmin, "lea")
	b.create(lead)
	lea, mal := b.as("lea"), b.as("mal")
	// Mal may write grants, and holds nothing that could be given.
	b.create(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "grants-only"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"atoll.dev"}, Resources: []string{"accessgrants"}, Verbs: []string{"get", "create", "update", "patch", "delete"},
	}}})
	b.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "grants-only"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "grants-only"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "mal"}, {APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "lea"}},
	})
	zoe := given("led", "zoe", v1alpha1.RoleViewer, "zoe")
	b.eventually("lea gives a role in her project", func() error { return client.IgnoreAlreadyExists(lea.Create(t.Context(), zoe.DeepCopy())) })
	b.holds(zoe, "Granted", "role viewer")
	b.eventually("mal may write grants", func() error {
		err := mal.Create(t.Context(), given("led", "mal", v1alpha1.RoleViewer, "mal"))
		if !apierrors.IsForbidden(err) || strings.Contains(err.Error(), "cannot create") {
			return errors.Join(errors.New("the right does not count yet"), err)
		}
		return nil
	})

	const rule = "nobody gives what they do not hold"
	change := func(c client.Client, patch string) error {
		return c.Patch(t.Context(), zoe.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch)))
	}
	several := given("atoll-system", "several", v1alpha1.RoleViewer, "lea")
	several.Spec.Projects = []string{"led", "not-led"}
	beyond := given("led", "beyond", v1alpha1.RoleViewer, "lea")
	beyond.Spec.Projects = []string{"not-led"}
	masters := given("led", "masters", v1alpha1.RoleViewer, "lea")
	masters.Spec.Groups = []string{"system:masters"}
	past := given("led", "past", v1alpha1.RoleViewer, "lea")
	past.Spec.Until = &metav1.Time{Time: time.Now().Add(-time.Hour)}
	nobody := given("led", "nobody", v1alpha1.RoleViewer, "")
	nobody.Spec.Users = nil
	for what, c := range map[string]struct {
		err  error
		says string
	}{
		"to oneself":                       {mal.Create(t.Context(), given("led", "mal", v1alpha1.RoleAdmin, "mal")), rule},
		"in the fleet":                     {mal.Create(t.Context(), given("atoll-system", "mal", v1alpha1.RoleAdmin, "mal")), rule},
		"by another's grant":               {change(mal, `{"spec":{"users":["mal"]}}`), rule},
		"by another's role":                {change(mal, `{"spec":{"role":"admin"}}`), rule},
		"an admin, in another project":     {lea.Create(t.Context(), given("not-led", "lea", v1alpha1.RoleViewer, "lea")), rule},
		"an admin, in the fleet":           {lea.Create(t.Context(), given("atoll-system", "lea", v1alpha1.RoleViewer, "lea")), rule},
		"an admin, what is none of theirs": {lea.Create(t.Context(), given("led", "lea", v1alpha1.RoleSecrets, "lea")), rule},
		"an admin, in several projects":    {lea.Create(t.Context(), several), "project not-led"},
		"an admin, in another from within": {lea.Create(t.Context(), beyond), "spec.projects"},
		"to a group of Kubernetes":         {lea.Create(t.Context(), masters), "spec.groups[0]"},
		"for a time that is over":          {lea.Create(t.Context(), past), "spec.until"},
		"to nobody":                        {lea.Create(t.Context(), nobody), "a grant to nobody gives nothing"},
		"by RBAC itself": {lea.Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "led", Name: "x"},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}}), "cannot create"},
		"by the project's own bounds": {lea.Patch(t.Context(), &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "led"}}, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"privileged":true}}`))), "cannot patch"},
	} {
		b.refused(what, c.err, c.says)
	}
	// What gives nobody anything is no giving.
	b.must(change(mal, `{"metadata":{"labels":{"seen":"yes"}}}`))
	b.must(mal.Delete(t.Context(), zoe))
}
