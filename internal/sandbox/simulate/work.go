package simulate

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/bench"
)

const (
	projectName = "simulate"
	everywhere  = "everywhere"
	// versionKey is the annotation by which a member tells which change it has.
	versionKey = "simulate.atoll.dev/version"
)

func appName(i int) string { return fmt.Sprintf("app-%04d", i) }

// manifests are what an application delivers: three objects, as small
// services have them.
func manifests(app string, version int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s}
data: {greeting: "hello from %[1]s", level: info}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {selector: {app: %[1]s}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, annotations: {%[3]s: "%[2]d"}}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
      - name: main
        image: registry.example/%[1]s:v%[2]d
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: 50m, memory: 64Mi}}
        envFrom: [{configMapRef: {name: %[1]s}}]
`, app, version, versionKey)
}

// wrote is told by member i of every object it stores.
func (r *rig) wrote(i int, gvr schema.GroupVersionResource, u *unstructured.Unstructured) {
	if gvr.Resource != "deployments" {
		return
	}
	r.mu.Lock()
	tell := r.watching[u.GetName()]
	r.mu.Unlock()
	if tell != nil {
		tell(i, u.GetAnnotations()[versionKey])
	}
}

func (r *rig) watch(app string, tell func(member int, version string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if tell == nil {
		delete(r.watching, app)
		return
	}
	r.watching[app] = tell
}

func (r *rig) project(ctx context.Context) error {
	p := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: projectName}}
	if err := r.hub.Client.Create(ctx, p); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make the project: %w", err)
	}
	return r.until(ctx, "the project is ready", everyOverview, func() (bool, error) {
		err := r.hub.Client.Get(ctx, client.ObjectKeyFromObject(p), p)
		return len(p.Status.Conditions) > 0, err
	})
}

// patience bounds every wait for the fleet.
const patience = 10 * time.Minute

// Every look costs the hub something; these say how often the rig looks.
const (
	everyOverview = 500 * time.Millisecond
	everyList     = time.Second
)

func (r *rig) until(ctx context.Context, what string, every time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		if stopped := sleep(ctx, every); stopped != nil {
			return fmt.Errorf("%s: never within %s; last: %w", what, patience, err)
		}
	}
}

func (r *rig) allConnected(ctx context.Context) error {
	return r.until(ctx, "all agents are connected", everyOverview, func() (bool, error) {
		o, err := r.hub.Fleet.Overview(ctx)
		if err != nil {
			return false, err
		}
		return o.Clusters.Connected == r.Agents, fmt.Errorf("%+v", o.Clusters)
	})
}

func (r *rig) application(name, selector string, version int) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: projectName, Name: name}}
	app.Spec.Source.Inline = manifests(name, version)
	app.Spec.Placement = &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: selector}}
	return app
}

func (r *rig) slotMembers(slot int) []int {
	var out []int
	for i := slot; i < r.Agents; i += r.slots() {
		out = append(out, i)
	}
	return out
}

func (r *rig) changeAll(ctx context.Context) (*bench.Distribution, error) {
	members := make([]int, r.Agents)
	for i := range members {
		members[i] = i
	}
	return r.change(ctx, everywhere, r.ChangesAll, members)
}

// change changes one application again and again, each time when the last of
// its members has the change. Each is from the change at the hub to the object
// in the last member.
func (r *rig) change(ctx context.Context, name string, times int, members []int) (*bench.Distribution, error) {
	place := map[int]int{}
	for at, i := range members {
		place[i] = at
	}
	app := &v1alpha1.Application{}
	if err := r.hub.Client.Get(ctx, client.ObjectKey{Namespace: projectName, Name: name}, app); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	var sample []time.Duration
	for n := range times {
		version := n + 1
		one := bench.NewArrivals(1, len(members))
		r.watch(name, func(member int, v string) {
			if at, ok := place[member]; ok && v == strconv.Itoa(version) {
				one.Seen(at, 0, time.Now())
			}
		})
		one.Sent(time.Now())
		patch := client.MergeFrom(app.DeepCopy())
		app.Spec.Source.Inline = manifests(name, version)
		if err := r.hub.Client.Patch(ctx, app, patch); err != nil {
			return nil, fmt.Errorf("change %s: %w", name, err)
		}
		select {
		case <-one.All():
			sample = append(sample, one.Took()...)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(patience):
			return nil, fmt.Errorf("change %d of %s did not arrive everywhere in %s", version, name, patience)
		}
	}
	r.watch(name, nil)
	d := bench.Distributed(sample)
	return &d, r.until(ctx, name+" is in sync and healthy", everyOverview, func() (bool, error) {
		if err := r.hub.Client.Get(ctx, client.ObjectKeyFromObject(app), app); err != nil {
			return false, err
		}
		return settled(app)
	})
}

// settled is whether the hub says that everything is well, and an error that
// tells what it says else.
func settled(app *v1alpha1.Application) (bool, error) {
	n := app.Status.Counts
	if app.Status.ObservedGeneration != app.Generation || n.Placed == 0 || n.InSync != n.Placed || n.Healthy != n.Placed {
		return false, fmt.Errorf("%s: generation %d of %d, %+v", app.Name, app.Status.ObservedGeneration, app.Generation, n)
	}
	return true, nil
}

func (r *rig) allSettled(ctx context.Context) error {
	return r.until(ctx, "all is in sync and healthy", everyList, func() (bool, error) {
		var apps v1alpha1.ApplicationList
		if err := r.hub.Client.List(ctx, &apps, client.InNamespace(projectName)); err != nil {
			return false, err
		}
		for i := range apps.Items {
			if ok, err := settled(&apps.Items[i]); !ok {
				return false, err
			}
		}
		return true, nil
	})
}

// allReported waits until the hub has heard, since it started, how each cluster
// is. An agent's first report is of everything, so one application tells it;
// what applications say of themselves may have been stored before.
func (r *rig) allReported(ctx context.Context) error {
	return r.until(ctx, "all agents have reported", everyList, func() (bool, error) {
		all, err := r.hub.Fleet.ApplicationClusters(ctx, projectName, everywhere)
		if err != nil {
			return false, err
		}
		well := 0
		for _, c := range all.Clusters {
			if c.Current && c.State.Well() {
				well++
			}
		}
		return well == r.Agents, fmt.Errorf("%d of %d", well, r.Agents)
	})
}

// restart kills the hub, starts it, and waits until all is as it was, and known.
func (r *rig) restart(ctx context.Context) error {
	r.hub.Kill()
	if err := r.hub.Start(ctx); err != nil {
		return err
	}
	if err := r.allConnected(ctx); err != nil {
		return err
	}
	if err := r.allReported(ctx); err != nil {
		return err
	}
	return r.allSettled(ctx)
}
