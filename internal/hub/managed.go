package hub

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/admission"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/managed"
	"atoll.dev/atoll/internal/placement"
)

// managed refuses changes by others to the fields that an application delivers to
// the hub itself, unless somebody overrides it for a while, and false words in that.
func (a *admit) managed(ctx context.Context, w apiserver.Write) error {
	var before, after map[string]string
	var managers []managed.Manager
	if w.Old != nil {
		before, managers = w.Old.GetAnnotations(), managed.Of(w.Old)
	}
	if w.New != nil {
		after = w.New.GetAnnotations()
	}
	if _, overrides := managed.OverrideOf(after); !overrides && len(managers) == 0 && !managed.Reserved(w.FieldManager) {
		return nil
	}
	self, err := a.self(ctx, w)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	forbidden := func(format string, args ...any) error {
		return apierrors.NewForbidden(w.Resource.GroupResource(), w.Name, fmt.Errorf(format, args...))
	}
	if managed.Reserved(w.FieldManager) && !self {
		return forbidden("only the hub writes as field manager %s; choose another one", w.FieldManager)
	}
	if !self {
		if err := managed.CheckOverride(after, before, w.User.GetName(), clock.Now()); err != nil {
			return forbidden("%w", err)
		}
	}
	for _, m := range managers {
		if self && w.FieldManager == m.Fields() || w.Operation == admission.Delete && (self || collects(w.User.GetName())) {
			continue
		}
		why, err := a.guarded(ctx, w, m)
		switch {
		case err != nil:
			return apierrors.NewInternalError(err)
		case why != "":
			return forbidden("%s", why)
		}
	}
	return nil
}

// guarded is why a write may not pass that is not by m; "" when it may.
func (a *admit) guarded(ctx context.Context, w apiserver.Write, m managed.Manager) (string, error) {
	what, annotations := "delete it there", w.Old.GetAnnotations()
	if w.New != nil {
		paths, err := managed.Changed(m, w.Old, w.New)
		if err != nil || len(paths) == 0 {
			return "", err
		}
		what, annotations = "change "+listFew(paths)+" there", w.New.GetAnnotations()
	}
	app, project, err := a.managing(ctx, m)
	if err != nil || app == nil {
		return "", err
	}
	from := fmt.Sprintf("it is managed by app/%s of project %s from %s: %s", m.Application, m.Project, managed.From(app), what)
	switch o, given := managed.OverrideOf(annotations); {
	case project.Spec.ForbidPause:
		return fmt.Sprintf("%s; project %s forbids overrides (spec.forbidPause)", from, m.Project), nil
	case given && o.Holds(clock.Now()):
		return "", nil
	}
	return fmt.Sprintf("%s, or say why this must differ for a while: atoll override %s --reason REASON --for 1h", from, refOf(w)), nil
}

// refOf names an object as the command line does.
func refOf(w apiserver.Write) string {
	if w.Kind.Kind == "Application" {
		return "app/" + w.Name + " -p " + w.Namespace
	}
	return strings.ToLower(w.Kind.Kind) + "/" + w.Name
}

// managing reads an application that delivers to the hub, and its project; nil
// where it does so no longer.
func (a *admit) managing(ctx context.Context, m managed.Manager) (*v1alpha1.Application, *v1alpha1.Project, error) {
	kube, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	api, app, project := kube.Discovery().RESTClient(), &v1alpha1.Application{}, &v1alpha1.Project{}
	of := []string{"/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version}
	if err := readInto(ctx, api, app, append(of, "namespaces", m.Project, "applications", m.Application)...); err != nil {
		return nil, nil, fmt.Errorf("read application %s of project %s: %w", m.Application, m.Project, err)
	}
	if app.Name == "" || app.DeletionTimestamp != nil || !placement.TargetsHub(app) {
		return nil, nil, nil
	}
	if err := readInto(ctx, api, project, append(of, "projects", m.Project)...); err != nil {
		return nil, nil, fmt.Errorf("read project %s: %w", m.Project, err)
	}
	return app, project, nil
}

// ownName is the name under which this hub, and others of its store, write.
type ownName struct{ name atomic.Pointer[string] }

// self tells that the hub itself writes.
func (a *admit) self(ctx context.Context, w apiserver.Write) (bool, error) {
	known := a.own.name.Load()
	if known == nil {
		kube, err := a.client()
		if err != nil {
			return false, err
		}
		review, err := kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1CreateOptions)
		if err != nil {
			return false, fmt.Errorf("ask under which name the hub writes: %w", err)
		}
		known = &review.Status.UserInfo.Username
		a.own.name.Store(known)
	}
	return w.User.GetName() == *known, nil
}

// collects tells the controllers of a host cluster, which delete what belongs to a
// namespace or an owner that is gone; in a hub of its own they are the hub.
func collects(user string) bool {
	return user == "system:kube-controller-manager" || strings.HasPrefix(user, "system:serviceaccount:kube-system:")
}

func listFew(paths []string) string {
	const most = 3
	if len(paths) > most {
		return fmt.Sprintf("%s and %d more fields", strings.Join(paths[:most], ", "), len(paths)-most)
	}
	return strings.Join(paths, ", ")
}
