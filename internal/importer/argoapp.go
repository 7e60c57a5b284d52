package importer

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/syncoption"
)

const cascade = "resources-finalizer.argocd.argoproj.io"

// application makes one of Argo CD's an Application, where its destination
// already became a placement.
func (a *argo) application(u *unstructured.Unstructured, origin string, placement *v1alpha1.ApplicationPlacement) {
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	f := fieldsOf(a.Result, origin, "spec", spec)
	project := a.projectName(f.text("project"))
	destination := f.sub("destination")
	out := v1alpha1.ApplicationSpec{Placement: placement, Namespace: destination.text("namespace")}
	destination.done()
	a.delivers(f.text("project"), project, out.Namespace)
	f.syncPolicy(&out)
	f.ignoreDifferences(&out)
	for _, finalizer := range u.GetFinalizers() {
		if finalizer == cascade || strings.HasPrefix(finalizer, cascade+"/") {
			out.OnDelete = v1alpha1.Delete
		}
	}
	for _, key := range slices.Sorted(maps.Keys(u.GetAnnotations())) {
		switch {
		case key == "argocd.argoproj.io/sync-wave":
			a.lose(origin, "metadata.annotations["+key+"]", "say in spec.dependsOn which Application waits for which")
		case strings.HasPrefix(key, "notifications.argoproj.io/"), strings.HasPrefix(key, "argocd-image-updater.argoproj.io/"):
			a.lose(origin, "metadata.annotations["+key+"]", "has no counterpart in Atoll")
		}
	}
	f.skip("revisionHistoryLimit", "info")
	source, ok := a.source(f, project)
	f.done()
	if !ok {
		return
	}
	out.Source = source
	name := dns(u.GetName(), mostApplication)
	if name != u.GetName() {
		a.note(origin, "metadata.name", "%q is called %s", u.GetName(), name)
	}
	labels := u.GetLabels()
	maps.DeleteFunc(labels, func(k, _ string) bool { return strings.HasPrefix(k, "argocd.argoproj.io/") })
	a.add("Application", project, name, origin, labels, out)
}

// syncPolicy: Atoll delivers what the source says, deletes what left it, and
// tries again until it is so.
func (f *fields) syncPolicy(out *v1alpha1.ApplicationSpec) {
	p := f.sub("syncPolicy")
	automated := p.sub("automated")
	enabled, said := automated.m["enabled"].(bool)
	if !p.has("automated") || said && !enabled {
		f.r.lose(f.object, p.path("automated"), "Argo CD waits for a person to sync; Atoll delivers each commit at once: give git.ref.commit, or waves with approval in spec.rollout")
	} else if prune := automated.flag("prune"); !prune {
		f.r.lose(f.object, automated.path("prune"), "Argo CD keeps what left the source; Atoll deletes it, at most %d objects a sync without asking", deletionBudget)
	}
	if !automated.flag("selfHeal") {
		out.Drift.Mode = v1alpha1.DriftReport
	}
	automated.skip("enabled", "prune")
	automated.lose("allowEmpty", "a source without objects is never delivered: delete the application instead")
	automated.done()
	p.argoRetry(out)
	for _, option := range p.texts("syncOptions") {
		if !syncoption.Inert(option) {
			f.r.lose(f.object, p.path("syncOptions"), "%s has no counterpart in Atoll", option)
		}
	}
	metadata := p.sub("managedNamespaceMetadata")
	metadata.lose("labels", "deliver the Namespace itself, in a privileged project")
	metadata.lose("annotations", "deliver the Namespace itself, in a privileged project")
	metadata.done()
	p.done()
}

// deletionBudget is a Project's where it says nothing else.
const deletionBudget = 10

func (f *fields) ignoreDifferences(out *v1alpha1.ApplicationSpec) {
	for _, rule := range f.each("ignoreDifferences") {
		made := v1alpha1.FieldRule{Group: rule.text("group"), Kind: rule.text("kind"), Name: rule.text("name")}
		for _, field := range []*string{&made.Group, &made.Kind, &made.Name} {
			if *field == "*" {
				*field = ""
			}
		}
		rule.lose("namespace", "the rule counts in every namespace that the application delivers to")
		for _, pointer := range rule.texts("jsonPointers") {
			made.Paths = append(made.Paths, ofPointer(pointer))
		}
		for _, expression := range rule.texts("jqPathExpressions") {
			if p, ok := ofJQ(expression); ok {
				made.Paths = append(made.Paths, p)
			} else {
				f.r.lose(f.object, rule.path("jqPathExpressions"), "%q is more than a path: say which fields in drift.ignore", expression)
			}
		}
		rule.lose("managedFieldsManagers", "drift.ignore names fields, not who changes them")
		rule.done()
		if len(made.Paths) > 0 {
			out.Drift.Ignore = append(out.Drift.Ignore, made)
		}
	}
}
