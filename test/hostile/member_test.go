package hostile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/testfleet"
)

// forged is content that no hub would admit: objects as they stand, by what
// each claims to be.
func forged(t *testing.T, objects ...*unstructured.Unstructured) content.Bundle {
	t.Helper()
	var b content.Bundle
	for _, u := range objects {
		data, err := json.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		gvk := u.GroupVersionKind()
		b.Objects = append(b.Objects, content.Object{Manifest: data, Ref: report.ObjectRef{
			Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName(),
		}})
	}
	return b
}

// entryOf is what a hub asks for an application of an ordinary project.
func entryOf(project, app string, digest desired.Digest) desired.Entry {
	p := &v1alpha1.Project{ObjectMeta: named("", project)}
	a := &v1alpha1.Application{ObjectMeta: named(project, app)}
	a.UID, a.Generation = "00000000-0000-0000-0000-0000000000aa", 1
	return desired.Build(a, p, &v1alpha1.Cluster{ObjectMeta: named("", lone)}, digest)
}

// engine applies bundles by application, as an agent does, with no hub at all.
func engine(t *testing.T, m *testfleet.Member, project string, bundles map[string]content.Bundle) *apply.Engine {
	t.Helper()
	e, err := apply.New(m.Config(), apply.Options{})
	if err != nil {
		t.Fatal(err)
	}
	byDigest := map[desired.Digest]content.Bundle{}
	var entries []desired.Entry
	for app, b := range bundles {
		d := desired.Sum([]byte(app))
		byDigest[d] = b
		entries = append(entries, entryOf(project, app, d))
	}
	root, err := desired.NewRoot(entries)
	if err != nil {
		t.Fatal(err)
	}
	e.SetRoot(t.Context(), root,
		func(d desired.Digest) (content.Bundle, error) { return byDigest[d], nil },
		func(string) ([]byte, error) { return []byte("value"), nil })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return e
}

func state(t *testing.T, e *apply.Engine, project, app string, is func(report.State) bool) report.State {
	t.Helper()
	var s report.State
	eventually(t, project+"/"+app+" in the member", func(context.Context) error {
		s = e.States()[desired.Key{Project: project, Application: app}]
		if !is(s) {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	return s
}

// A hub that was taken over asks for what the project may not have: the agent's
// own check refuses it, without the hub.
func TestTheMemberRefusesHostileContent(t *testing.T) {
	const project = "pirates-at-sea"
	m := world(t).Member(lone)
	bundles := map[string]content.Bundle{"harmless": forged(t, parse(t, harmless))}
	for i, a := range attempts {
		bundles[fmt.Sprintf("attempt-%d", i)] = forged(t, parse(t, a.by(project).manifest))
		// Beside something allowed, which must not carry it in.
		bundles[fmt.Sprintf("mixed-%d", i)] = forged(t, parse(t, strings.Replace(harmless, "harmless", fmt.Sprintf("beside-%d", i), 1)), parse(t, a.by(project).manifest))
		bundles[fmt.Sprintf("listed-%d", i)] = forged(t, parse(t, fmt.Sprintf("{apiVersion: v1, kind: List, metadata: {name: l}, items: [%s]}", a.by(project).manifest)))
	}
	e := engine(t, m, project, bundles)
	state(t, e, project, "harmless", func(s report.State) bool { return s.Sync == report.InSync })
	for i, a := range attempts {
		a = a.by(project)
		t.Run(a.name, func(t *testing.T) {
			for _, app := range []string{"attempt", "mixed", "listed"} {
				s := state(t, e, project, fmt.Sprintf("%s-%d", app, i), func(s report.State) bool { return len(s.Problems) > 0 })
				reason := a.reason
				if app == "listed" {
					reason = "ListWrapped"
				}
				said := slices.ContainsFunc(s.Problems, func(p report.Problem) bool {
					return p.Reason == "PolicyRefused" && strings.Contains(p.Message, reason)
				})
				// A kind that the member does not serve cannot be delivered either.
				if !said && !slices.ContainsFunc(s.Problems, func(p report.Problem) bool { return p.Reason == "NoKind" }) {
					t.Errorf("%s: want PolicyRefused: %s, got %+v", app, reason, s.Problems)
				}
				if s.Applied != 0 {
					t.Errorf("%s: %d objects were applied", app, s.Applied)
				}
			}
			absent(t, m.Client(), parse(t, a.manifest))
		})
	}
}

// And behind the agent's check stands the member's RBAC: with the account of
// the project, and no code of ours in between, the same is refused again.
func TestTheMembersRBACRefusesTheProjectsAccount(t *testing.T) {
	const project = "pirates-ashore"
	m := world(t).Member(lone)
	// Many kinds and namespaces, so that the account has all that a project can get.
	e := engine(t, m, project, map[string]content.Bundle{"harmless": forged(t, parse(t, harmless),
		parse(t, "{apiVersion: v1, kind: Secret, metadata: {name: s}}"), parse(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: s}}"),
		parse(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+project+"-more}}"))})
	state(t, e, project, "harmless", func(s report.State) bool { return s.Sync == report.InSync })
	config := m.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:atoll-system:atoll-project-" + project}
	account, err := client.New(config, client.Options{Scheme: m.Client().Scheme(), Mapper: m.Client().RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	send := func(manifest string) error {
		u := parse(t, manifest)
		if u.GetNamespace() == "" && u.GetKind() == "ConfigMap" {
			u.SetNamespace(project)
		}
		return account.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("atoll/"+project+"/harmless"), client.ForceOwnership)
	}
	if err := send(harmless); err != nil {
		t.Fatalf("the account cannot do what it should: %v", err)
	}
	for _, a := range attempts {
		a = a.by(project)
		if err := send(a.manifest); !a.onlyPolicy && !apierrors.IsForbidden(err) {
			t.Errorf("%s: want Forbidden, got %v", a.name, err)
		}
		if a.onlyPolicy {
			if err := m.Client().Delete(t.Context(), parse(t, a.manifest)); client.IgnoreNotFound(err) != nil && !isNoKind(err) {
				t.Error(err)
			}
		}
	}
	for name, try := range map[string]func() error{
		"reads another namespace's Secrets": func() error {
			l := list("SecretList")
			return account.List(t.Context(), l, client.InNamespace("kube-system"))
		},
		"reads the agent's identity": func() error {
			return account.Get(t.Context(), client.ObjectKey{Namespace: "atoll-system", Name: "atoll-agent-identity"}, parse(t, "{apiVersion: v1, kind: Secret}"))
		},
		"deletes a namespace that is not its own": func() error {
			return account.Delete(t.Context(), parse(t, "{apiVersion: v1, kind: Namespace, metadata: {name: default}}"))
		},
		"mints a token": func() error {
			return account.SubResource("token").Create(t.Context(), parse(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: "+project+"}}"),
				parse(t, "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, spec: {expirationSeconds: 3600}}"))
		},
	} {
		if err := try(); !apierrors.IsForbidden(err) {
			t.Errorf("the account %s: want Forbidden, got %v", name, err)
		}
	}
}

func list(kind string) *unstructured.UnstructuredList {
	l := &unstructured.UnstructuredList{}
	l.SetAPIVersion("v1")
	l.SetKind(kind)
	return l
}
