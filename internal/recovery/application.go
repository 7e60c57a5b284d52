package recovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// application is one as some clusters run it.
func (p planner) application(key desired.Key, claims []claim) Application {
	out := Application{Key: key}
	var kept []claim
	for _, c := range claims {
		out.Clusters = append(out.Clusters, c.cluster)
		if c.Withdrawn {
			out.Notes = append(out.Notes, "cluster "+c.cluster+" was letting go of it, and is left out")
		} else {
			kept = append(kept, c)
		}
	}
	if len(kept) == 0 {
		out.Known = true
		return out
	}
	one, differ := chosen(kept, version, p.prefer)
	if len(differ) > 0 {
		out.Problems = append(out.Problems, "clusters run different versions: "+strings.Join(differ, "; "))
		return out
	}
	out.Revision, out.Secrets = one.Revision, one.Secrets
	app := one.object()
	if existing := p.existing(key); existing != nil {
		p.widen(&out, existing, one, kept)
		return out
	}
	if one.Policy.OnDelete == v1alpha1.Delete {
		out.Notes = append(out.Notes, "onDelete was Delete, and is Orphan until somebody sets it again")
	}
	p.place(&out, app, one, kept, kept)
	return out
}

// place makes app what is to be made, for the new clusters beside those that it
// names, unless something speaks against it.
func (p planner) place(out *Application, app *v1alpha1.Application, one claim, added, kept []claim) {
	for _, c := range added {
		app.Spec.Placement.Names = append(app.Spec.Placement.Names, c.cluster)
		if version(c) != version(one) {
			out.Notes = append(out.Notes, fmt.Sprintf("cluster %s runs %s, and changes when it follows", c.cluster, version(c)))
		}
	}
	out.give(one, kept)
	out.Problems = append(out.Problems, p.unbound(app, added)...)
	if len(out.Problems) == 0 {
		out.Object = app
	}
}

// give names the agent that the content comes from: any that has it.
func (a *Application) give(one claim, kept []claim) {
	for _, c := range append([]claim{one}, kept...) {
		if c.Content == one.Content && c.Missing == "" {
			a.From = c.cluster
			return
		}
	}
	a.Problems = append(a.Problems, fmt.Sprintf("no agent has its content: %s", one.Missing))
}

// version is what must be the same on clusters that one application is for. With
// overrides a revision has several contents.
func version(c claim) string {
	settings := digestOf(struct {
		Policy    desired.Policy
		Late      bool
		Variables map[string]string
		After     []string
	}{own(c.Policy), c.LateBinding, c.variables(), c.After})
	return fmt.Sprintf("%s in namespace %s (content %s, settings %s)", c.Revision, c.Namespace, c.Content.Short(), settings.Short())
}

const variable = "var."

// variables are the application's own bindings.
func (r Running) variables() map[string]string {
	out := map[string]string{}
	for name, value := range r.Bindings {
		if name, ok := strings.CutPrefix(name, variable); ok {
			out[name] = value
		}
	}
	return out
}

// object is the application without its clusters. Objects are never deleted for
// what may be missing from it.
func (r Running) object() *v1alpha1.Application {
	app := &v1alpha1.Application{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Application"},
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Key.Project, Name: r.Key.Application},
		Spec: v1alpha1.ApplicationSpec{
			Source:      v1alpha1.Source{Content: &v1alpha1.ContentSource{Digest: string(r.Content), Origin: Origin}},
			Placement:   &v1alpha1.ApplicationPlacement{},
			Namespace:   r.Namespace,
			Drift:       v1alpha1.Drift{Mode: r.Policy.DriftMode, Ignore: r.Policy.Ignore, Exact: r.Policy.Exact},
			OnDelete:    v1alpha1.Orphan,
			Adopt:       r.Policy.Adopt,
			LateBinding: r.LateBinding,
			Health:      r.Policy.Health,
			Sync:        r.Policy.Retry.Sync(),
		},
	}
	if r.UID != "" {
		app.Annotations = map[string]string{v1alpha1.AnnotationContinues: r.UID}
	}
	for _, name := range r.After {
		app.Spec.DependsOn = append(app.Spec.DependsOn, v1alpha1.Dependency{Application: name})
	}
	if r.LateBinding {
		app.Spec.Variables = r.variables()
	}
	return app
}

func (p planner) existing(key desired.Key) *v1alpha1.Application {
	for i := range p.known.Applications {
		if a := &p.known.Applications[i]; a.Namespace == key.Project && a.Name == key.Application {
			return a
		}
	}
	return nil
}

// widen adds clusters whose agents came later to what was recovered before. What
// a person made is left alone.
func (p planner) widen(out *Application, existing *v1alpha1.Application, one claim, kept []claim) {
	out.Known = true
	was, to := existing.Spec.Source.Content, existing.Spec.Placement
	if was == nil || *was != *one.object().Spec.Source.Content || to == nil || len(to.Names) == 0 {
		return
	}
	later := slices.DeleteFunc(slices.Clone(kept), func(c claim) bool { return slices.Contains(to.Names, c.cluster) })
	if len(later) == 0 {
		return
	}
	out.Known = false
	app := &v1alpha1.Application{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Application"},
		ObjectMeta: metav1.ObjectMeta{Namespace: existing.Namespace, Name: existing.Name},
		Spec:       *existing.Spec.DeepCopy(),
	}
	if uid := existing.Annotations[v1alpha1.AnnotationContinues]; uid != "" {
		app.Annotations = map[string]string{v1alpha1.AnnotationContinues: uid}
	}
	p.place(out, app, one, later, kept)
}

// unbound tells which values of clusters the hub would bind to others than those
// that run: labels, regions and the like were lost with its store.
func (p planner) unbound(app *v1alpha1.Application, kept []claim) []string {
	var problems []string
	for _, c := range kept {
		if !c.LateBinding {
			continue
		}
		now := map[string]string{}
		for i := range p.known.Clusters {
			if p.known.Clusters[i].Name == c.cluster {
				now = desired.Bindings(app, &p.known.Clusters[i])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(c.Bindings)) {
			if strings.HasPrefix(name, variable) || now[name] == c.Bindings[name] {
				continue
			}
			problems = append(problems, fmt.Sprintf("%s is %q there and would be %q: %s", name, c.Bindings[name], now[name], remedy(c.cluster, name, c.Bindings[name])))
		}
	}
	return problems
}

// remedy says how a cluster gets a value back.
func remedy(cluster, name, value string) string {
	field := strings.TrimPrefix(name, "cluster.")
	if label, ok := strings.CutPrefix(field, "label."); ok {
		return fmt.Sprintf("label cluster %s with %s=%s", cluster, label, value)
	}
	return fmt.Sprintf("set spec.%s of cluster %s to %s", field, cluster, value)
}
