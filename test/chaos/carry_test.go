package chaos_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
)

// carryOut does one operation, and looks whether anything was breached so far.
func (f *fleetOf) carryOut(i int, op operation) {
	f.t.Helper()
	select {
	case <-time.After(op.Pause): // part of what the seed says
	case <-f.t.Context().Done():
		return
	}
	f.done = append(f.done, fmt.Sprintf("%7.2fs %2d %s", time.Since(f.began).Seconds(), i, op))
	switch {
	case op.App != (appID{}) && op.Member < 0:
		f.ask(op.Do, op.App, op.State)
	case op.Do == "kill the hub":
		f.hub.kill()
	case op.Do == "start the hub":
		if err := f.hub.revive(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
	default:
		f.harm(f.members[op.Member], op)
	}
	f.judge()
}

func (f *fleetOf) harm(m *member, op operation) {
	f.t.Helper()
	namespace := projectName(f.seed, op.App.Project)
	switch op.Do {
	case "edit":
		if err := m.edit(namespace, op.App.Name); err != nil {
			f.t.Error(err)
		}
	case "remove":
		m.remove(namespace, op.App.Name)
	case "stop the agent of":
		m.halt()
	case "start the agent of":
		m.start()
	case "kill and start the agent of":
		m.murder()
		m.start()
	case "link of":
		m.setLink(op.Condition)
	case "API of":
		m.setAPI(op.Condition)
	default:
		f.t.Fatalf("nobody knows how to %s", op.Do)
	}
}

// judge fails at the first promise that was broken.
func (f *fleetOf) judge() {
	f.t.Helper()
	for _, m := range f.members {
		for _, b := range m.witness.said() {
			f.t.Error(b)
		}
	}
}

// ask makes an application what it is to be. It is remembered first: from now
// on it may take effect at any time.
func (f *fleetOf) ask(do string, id appID, s appState) {
	f.t.Helper()
	f.intent.ask(id, s)
	app := f.application(id, s)
	switch do {
	case "create":
		f.create(app)
	case "delete":
		f.eventually("delete "+id.Name, func(ctx context.Context) error {
			return client.IgnoreNotFound(f.hub.Client.Delete(ctx, app))
		})
	default:
		f.eventually(do+" "+id.Name, func(ctx context.Context) error {
			now := &v1alpha1.Application{}
			if err := f.hub.Client.Get(ctx, client.ObjectKeyFromObject(app), now); err != nil {
				return err
			}
			before := client.MergeFrom(now.DeepCopy())
			now.Spec = app.Spec
			return f.hub.Client.Patch(ctx, now, before)
		})
	}
}

func (f *fleetOf) application(id appID, s appState) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: projectName(f.seed, id.Project), Name: id.Name}}
	app.Spec.Source.Inline = manifests(id, s)
	app.Spec.OnDelete, app.Spec.Adopt = s.OnDelete, true
	app.Spec.Drift.Mode = v1alpha1.DriftCorrect
	app.Spec.Placement = &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Names: f.names(s.Members)}}
	return app
}

func (f *fleetOf) names(members []int) []string {
	var names []string
	for _, m := range members {
		names = append(names, f.members[m].name)
	}
	return names
}

// greeting is what the data of a content says.
func greeting(content int) string { return fmt.Sprintf("content %d", content) }

func manifests(id appID, s appState) string {
	var b strings.Builder
	annotations := func(extra int) string {
		return fmt.Sprintf(`{%s: "%s/%s", %s: "%d", %s: "%d"}`, appKey, id.Project, id.Name, contentKey, s.Content, extraKey, extra)
	}
	settings := func(name string, extra int) {
		fmt.Fprintf(&b, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, annotations: %s}\ndata: {greeting: %q}\n---\n", name, annotations(extra), greeting(s.Content))
	}
	settings(id.Name, -1)
	for k := range s.Extras {
		settings(fmt.Sprintf("%s-extra-%d", id.Name, k), k)
	}
	fmt.Fprintf(&b, `apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, annotations: %[2]s}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: main, image: "registry.example/%[1]s:v%[3]d"}]}
`, id.Name, annotations(-1), s.Content)
	return b.String()
}
