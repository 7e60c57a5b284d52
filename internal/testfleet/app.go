package testfleet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

// Eventually asks until the answer is nil; the last one is told on failure.
func Eventually(t testing.TB, what string, ask func(context.Context) error) {
	t.Helper()
	last := errors.New("never asked")
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		if err == nil || ctx.Err() == nil { // that time is up says nothing
			last = err
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v; last: %v", what, err, last)
	}
}

// Project makes a project, waits for its namespace, and takes it and its
// applications away when the test ends.
func (f *Fleet) Project(name string, change ...func(*v1alpha1.ProjectSpec)) {
	f.t.Helper()
	p := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, c := range change {
		c(&p.Spec)
	}
	if err := f.Hub.client.Create(f.t.Context(), p); err != nil {
		f.t.Fatal(err)
	}
	Eventually(f.t, "the namespace of project "+name, func(ctx context.Context) error {
		return f.Hub.client.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
	})
	f.t.Cleanup(func() { f.clear(p) })
}

// clear is best effort: a test may have left the hub dead on purpose.
func (f *Fleet) clear(p *v1alpha1.Project) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = f.Hub.client.DeleteAllOf(ctx, &v1alpha1.Application{}, client.InNamespace(p.Name))
	_ = f.Hub.client.Delete(ctx, p)
	for _, m := range f.Members() {
		_ = m.client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Name}})
	}
}

// App is an application of a fleet.
type App struct {
	f             *Fleet
	Project, Name string
}

// App is a handle; the application need not exist.
func (f *Fleet) App(project, name string) *App { return &App{f: f, Project: project, Name: name} }

// Deploy runs `atoll deploy` with the manifests on standard input; flags say
// where to, such as "--to", "stage=production".
func (f *Fleet) Deploy(project, name, manifests string, flags ...string) *App {
	f.t.Helper()
	args := append([]string{"deploy", name, "--project", project, "-f", "-"}, flags...)
	if r := f.Hub.CLIWith(manifests, args...); r.Code != 0 {
		f.t.Fatalf("atoll %v: %s", args, r)
	}
	return f.App(project, name)
}

// Get is the application as the hub has it.
func (a *App) Get() *v1alpha1.Application {
	a.f.t.Helper()
	app := &v1alpha1.Application{}
	if err := a.f.Hub.client.Get(a.f.t.Context(), client.ObjectKey{Namespace: a.Project, Name: a.Name}, app); err != nil {
		a.f.t.Fatal(err)
	}
	return app
}

// Eventually waits until the application is as asked.
func (a *App) Eventually(what string, ok func(*v1alpha1.Application) bool) *v1alpha1.Application {
	a.f.t.Helper()
	app := &v1alpha1.Application{}
	Eventually(a.f.t, a.String()+" "+what, func(ctx context.Context) error {
		if err := a.f.Hub.client.Get(ctx, client.ObjectKey{Namespace: a.Project, Name: a.Name}, app); err != nil {
			return err
		}
		if app.Status.ObservedGeneration != app.Generation || !ok(app) {
			return fmt.Errorf("generation %d of %d, %+v, exceptions %+v", app.Status.ObservedGeneration, app.Generation, app.Status.Counts, app.Status.Exceptions)
		}
		return nil
	})
	return app
}

// Settles waits until it is in sync and healthy on exactly n clusters.
func (a *App) Settles(n int32) *v1alpha1.Application {
	a.f.t.Helper()
	return a.Eventually(fmt.Sprintf("in sync and healthy on %d", n), func(app *v1alpha1.Application) bool {
		return app.Status.Counts == v1alpha1.Counts{Placed: n, InSync: n, Healthy: n}
	})
}

// On waits until the state on one cluster is as asked, current and reported.
func (a *App) On(cluster, what string, ok func(fleet.ClusterState) bool) fleet.ClusterState {
	a.f.t.Helper()
	var found fleet.ClusterState
	Eventually(a.f.t, a.String()+" on "+cluster+" "+what, func(ctx context.Context) error {
		answer, err := a.f.Hub.fleet.ApplicationClusters(ctx, a.Project, a.Name)
		if err != nil {
			return err
		}
		for _, s := range answer.Clusters {
			if s.Cluster == cluster {
				if found = s; ok(s) {
					return nil
				}
				return fmt.Errorf("%+v", s)
			}
		}
		return fmt.Errorf("not placed there: %+v", answer)
	})
	return found
}

// String is "project/name".
func (a *App) String() string { return a.Project + "/" + a.Name }
