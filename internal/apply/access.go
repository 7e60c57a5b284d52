package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/policy"
)

// projectAccess is what a project's ServiceAccount was given in the member.
type projectAccess struct {
	mu         sync.Mutex // held while the member is written
	resources  map[policy.Resource]bool
	namespaces map[string]bool
	granted    string // what was written last, "" to write again
	renewed    time.Time
}

// ensureAccess creates the namespaces that the objects go to and gives the
// project's ServiceAccount just what its objects need, before any is applied.
func (e *Engine) ensureAccess(ctx context.Context, want desired.Entry, objects []rendered) error {
	for _, namespace := range namespacesOf(objects) {
		if _, err := e.ensureNamespace(ctx, want.Key.Project, namespace); err != nil {
			return err
		}
	}
	if want.Policy.Privileged || len(objects) == 0 {
		return nil
	}
	p := e.accessOf(ctx, want.Key.Project)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, item := range objects {
		p.add(item.kind, item.id)
	}
	return e.grantOnce(ctx, want, p)
}

// grantOnce writes the access that p asks for, unless it was written; p.mu is
// held.
func (e *Engine) grantOnce(ctx context.Context, want desired.Entry, p *projectAccess) error {
	access := policy.ProjectRBAC(want.Key.Project, want.Policy, policy.Member{
		Resources: slices.Collect(maps.Keys(p.resources)), Namespaces: slices.Collect(maps.Keys(p.namespaces)),
	})
	data, err := json.Marshal(access)
	if err != nil {
		return fmt.Errorf("encode the access of project %s: %w", want.Key.Project, err)
	}
	if p.granted == string(data) {
		return nil
	}
	if err := e.grant(ctx, want.Key.Project, access); err != nil {
		return err
	}
	p.granted = string(data)
	return nil
}

func (p *projectAccess) add(k kind, id ID) {
	p.resources[policy.Resource{Group: k.gvk.Group, Kind: k.gvk.Kind, Plural: k.gvr.Resource, Namespaced: k.namespaced}] = true
	switch {
	case k.namespaced:
		p.namespaces[id.Namespace] = true
	case id.GroupKind() == namespaceKind:
		p.namespaces[id.Name] = true
	}
}

// accessOf is a project's access, which begins with what its objects in the
// inventory need: correcting and deleting them takes rights too.
func (e *Engine) accessOf(ctx context.Context, project string) *projectAccess {
	e.mu.Lock()
	p, ok := e.projects[project]
	owned := map[ID]string{}
	if !ok {
		p = &projectAccess{resources: map[policy.Resource]bool{}, namespaces: map[string]bool{}}
		e.projects[project] = p
		p.mu.Lock() // nobody else has it yet
		defer p.mu.Unlock()
		for id, o := range e.objects {
			if o.entry.want.Key.Project == project {
				owned[id] = o.ref.Version
			}
		}
	}
	e.mu.Unlock()
	for id, version := range owned {
		if k, err := e.kinds.Find(ctx, id.GroupKind().WithVersion(version)); err == nil {
			p.add(k, id)
		}
	}
	return p
}

// regrant is how often access is written again although nothing changed.
const regrant = 10 * time.Second

// renewAccess writes a project's access again: the member refused something,
// so somebody may have removed it.
func (e *Engine) renewAccess(ctx context.Context, j job) error {
	if j.target.project == "" {
		return nil
	}
	p := e.accessOf(ctx, j.target.project)
	made := false
	if j.target.kind.namespaced {
		var err error
		// A namespace that was deleted took the project's access with it.
		if made, err = e.ensureNamespace(ctx, j.target.project, j.target.id.Namespace); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(j.target.kind, j.target.id) // an object found later is not in what p began with
	if now := e.clock(); made || now.Sub(p.renewed) >= regrant {
		p.granted, p.renewed = "", now
	}
	return e.grantOnce(ctx, j.want, p)
}

func namespacesOf(objects []rendered) []string {
	set := map[string]bool{}
	for _, item := range objects {
		if item.kind.namespaced {
			set[item.id.Namespace] = true
		}
		if item.id.GroupKind() == namespaceKind {
			set[item.id.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// ensureNamespace creates a namespace that does not exist. Nobody owns it: it
// is never pruned. It tells whether it was made now.
func (e *Engine) ensureNamespace(ctx context.Context, project, name string) (bool, error) {
	e.mu.Lock()
	exists, refused := e.member.namespaces[name], e.member.limits.refuses(ID{Kind: "Namespace", Name: name})
	e.mu.Unlock()
	if exists || name == "" || refused != "" {
		return false, nil
	}
	ns := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/managed-by": "atoll", "atoll.dev/project": project}},
	}}
	_, err := e.clients.own.Resource(namespaces.gvr).Create(ctx, ns, metav1.CreateOptions{FieldManager: agentManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("create namespace %s: %w", name, err)
	}
	e.mu.Lock()
	e.member.namespaces[name] = true
	e.mu.Unlock()
	return err == nil, nil
}

// namespaceGone forgets a namespace that the API server says is missing.
func (e *Engine) namespaceGone(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.member.namespaces, name)
}

// grant writes the ServiceAccount, its roles and their bindings.
func (e *Engine) grant(ctx context.Context, project string, access policy.Access) error {
	account := ServiceAccount(project)
	subject := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: systemNamespace}}
	role := func(name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	}
	inNamespaces := account + join.InNamespacesSuffix // no project can be named so
	if _, err := e.ensureNamespace(ctx, "", systemNamespace); err != nil {
		return err
	}
	if err := e.own(ctx, "serviceaccounts", schema.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"}, ID{Kind: "ServiceAccount", Namespace: systemNamespace, Name: account}, nil); err != nil {
		return err
	}
	if err := e.rbac(ctx, "clusterroles", "ClusterRole", "", account, &rbacv1.ClusterRole{Rules: access.Cluster}); err != nil {
		return err
	}
	if err := e.rbac(ctx, "clusterrolebindings", "ClusterRoleBinding", "", account, &rbacv1.ClusterRoleBinding{RoleRef: role(account), Subjects: subject}); err != nil {
		return err
	}
	if err := e.rbac(ctx, "clusterroles", "ClusterRole", "", inNamespaces, &rbacv1.ClusterRole{Rules: access.Namespaced}); err != nil {
		return err
	}
	for _, namespace := range access.Namespaces {
		if err := e.rbac(ctx, "rolebindings", "RoleBinding", namespace, account, &rbacv1.RoleBinding{RoleRef: role(inNamespaces), Subjects: subject}); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) rbac(ctx context.Context, resource, kindName, namespace, name string, obj any) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", kindName, name, err)
	}
	gvk := rbacv1.SchemeGroupVersion.WithKind(kindName)
	return e.own(ctx, resource, gvk, ID{Group: gvk.Group, Kind: kindName, Namespace: namespace, Name: name}, content)
}

// own applies one of the agent's own objects.
func (e *Engine) own(ctx context.Context, resource string, gvk schema.GroupVersionKind, id ID, content map[string]any) error {
	t := target{id: id, kind: kind{gvk: gvk, gvr: gvk.GroupVersion().WithResource(resource), namespaced: id.Namespace != ""}}
	if content == nil {
		content = map[string]any{}
	}
	for k, v := range identityOf(t) {
		content[k] = v
	}
	metadata, _ := content["metadata"].(map[string]any)
	metadata["labels"] = map[string]any{"app.kubernetes.io/managed-by": "atoll"}
	return e.clients.ensure(ctx, t, &unstructured.Unstructured{Object: content})
}
