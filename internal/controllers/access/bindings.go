package access

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/access"
)

const (
	// grantMark names the grant of a binding: as annotation "namespace/name", as label
	// what is short enough for one.
	grantMark = "atoll.dev/grant"

	fieldOwner = client.FieldOwner("atoll")
)

// Marks are the labels of each object of RBAC that the hub keeps for people.
func Marks() map[string]string { return map[string]string{"atoll.dev/access": "hub"} }

// keep makes the bindings of a grant those that are wanted.
func (r *Reconciler) keep(ctx context.Context, grant types.NamespacedName, wanted []access.Binding) error {
	reader := client.Reader(r.Client)
	if len(wanted) == 0 {
		reader = r.Live // what was made a moment ago must not stay either
	}
	there, err := bindingsOf(ctx, reader, grant.String())
	if err != nil {
		return err
	}
	var errs []error
	for _, b := range wanted {
		at := place{b.Scope, b.Name}
		is, known := there[at]
		delete(there, at)
		if known && reflect.DeepEqual(is, b) {
			continue
		}
		if known && is.Role != b.Role { // which cannot be changed
			errs = append(errs, r.remove(ctx, is))
		}
		errs = append(errs, r.apply(ctx, b))
	}
	for _, b := range there {
		errs = append(errs, r.remove(ctx, b))
	}
	return errors.Join(errs...)
}

// place is where a binding is.
type place struct{ scope, name string }

// bindingsOf are those that a grant has.
func bindingsOf(ctx context.Context, from client.Reader, grant string) (map[place]access.Binding, error) {
	var inProjects rbacv1.RoleBindingList
	var inFleet rbacv1.ClusterRoleBindingList
	labelled := client.MatchingLabels{grantMark: access.Label(grant)}
	if err := errors.Join(from.List(ctx, &inProjects, labelled), from.List(ctx, &inFleet, labelled)); err != nil {
		return nil, fmt.Errorf("list the bindings of grant %s: %w", grant, err)
	}
	out := map[place]access.Binding{}
	add := func(o metav1.ObjectMeta, role rbacv1.RoleRef, subjects []rbacv1.Subject) {
		out[place{o.Namespace, o.Name}] = access.Binding{
			Scope: o.Namespace, Name: o.Name, Role: role.Name, Subjects: subjects, Grant: o.Annotations[grantMark],
		}
	}
	for _, b := range inProjects.Items {
		add(b.ObjectMeta, b.RoleRef, b.Subjects)
	}
	for _, b := range inFleet.Items {
		add(b.ObjectMeta, b.RoleRef, b.Subjects)
	}
	return out, nil
}

func (r *Reconciler) apply(ctx context.Context, b access.Binding) error {
	o := bindingObject(b)
	marks := Marks()
	marks[grantMark] = access.Label(b.Grant)
	o.SetLabels(marks)
	o.SetAnnotations(map[string]string{grantMark: b.Grant})
	o.Object["roleRef"] = map[string]any{"apiGroup": rbacv1.GroupName, "kind": "ClusterRole", "name": b.Role}
	var subjects []any
	for _, s := range b.Subjects {
		subject, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&s)
		if err != nil {
			return fmt.Errorf("encode the subjects of grant %s: %w", b.Grant, err)
		}
		subjects = append(subjects, subject)
	}
	o.Object["subjects"] = subjects
	if err := r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("give role %s in %s: %w", b.Role, access.Place(b.Scope), err)
	}
	return nil
}

func (r *Reconciler) remove(ctx context.Context, b access.Binding) error {
	if err := r.Client.Delete(ctx, bindingObject(b)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("take role %s in %s back: %w", b.Role, access.Place(b.Scope), err)
	}
	return nil
}

// bindingObject is the object of a binding, with nothing in it yet.
func bindingObject(b access.Binding) *unstructured.Unstructured {
	kind := "RoleBinding"
	if b.Scope == access.Fleet {
		kind = "ClusterRoleBinding"
	}
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind(kind))
	o.SetNamespace(b.Scope)
	o.SetName(b.Name)
	return o
}
