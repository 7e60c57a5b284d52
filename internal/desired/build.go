package desired

import (
	"fmt"
	"slices"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

// DefaultDeletionBudget is how many objects one sync may delete on one cluster.
const DefaultDeletionBudget = 10

// Build is the entry of an application on one cluster. It is a pure function
// of the objects, so `explain` shows what the hub sends.
func Build(app *v1alpha1.Application, project *v1alpha1.Project, cluster *v1alpha1.Cluster, content Digest) Entry {
	e := Entry{
		Key:           Key{Project: app.Namespace, Application: app.Name},
		UID:           string(app.UID),
		Continues:     app.Annotations[v1alpha1.AnnotationContinues],
		Generation:    app.Generation,
		Revision:      RevisionName(app.Name, content),
		Content:       content,
		Namespace:     MemberNamespace(app, project),
		Policy:        BuildPolicy(app, project),
		AllowDeletion: app.Annotations[v1alpha1.AnnotationAllowDeletion],
	}
	for _, d := range app.Spec.DependsOn {
		e.After = append(e.After, d.Application)
	}
	if app.Spec.LateBinding {
		e.Bindings = Bindings(app, cluster)
	}
	return e
}

// Withdraw is e with the request to let go.
func Withdraw(e Entry) Entry {
	e.Withdrawn = true
	return e
}

// Hold is the entry of an application whose intent cannot be computed now.
func Hold(app *v1alpha1.Application) Entry {
	return Entry{Key: Key{Project: app.Namespace, Application: app.Name}, UID: string(app.UID), Hold: true}
}

// RevisionName is the name of the Revision of that content.
func RevisionName(app string, content Digest) string {
	return app + "-" + content.Short()
}

// BuildPolicy joins what the application asks with what its project allows.
func BuildPolicy(app *v1alpha1.Application, project *v1alpha1.Project) Policy {
	budget := int32(DefaultDeletionBudget)
	if project.Spec.DeletionBudget != nil {
		budget = *project.Spec.DeletionBudget
	}
	p := Policy{
		DriftMode:      orDefault(app.Spec.Drift.Mode, v1alpha1.DriftCorrect),
		Ignore:         app.Spec.Drift.Ignore,
		Exact:          app.Spec.Drift.Exact,
		Adopt:          app.Spec.Adopt,
		OnDelete:       orDefault(app.Spec.OnDelete, v1alpha1.Orphan),
		Health:         app.Spec.Health,
		Privileged:     project.Spec.Privileged,
		Namespaces:     Namespaces(project.Name, project.Spec.Namespaces),
		Kinds:          project.Spec.Kinds,
		ForbidPause:    project.Spec.ForbidPause,
		DeletionBudget: budget,
		Retry:          RetryOf(app.Spec.Sync),
	}
	if targetsHub(app) {
		return p.onHub(app, project)
	}
	return p
}

func targetsHub(app *v1alpha1.Application) bool {
	return app.Spec.Placement != nil && app.Spec.Placement.Hub
}

// MemberNamespace is where namespaced objects go that name none: the
// application's own choice, else its name if the project may own that, else
// the project's first namespace. On the hub a project has one, of its own name.
func MemberNamespace(app *v1alpha1.Application, project *v1alpha1.Project) string {
	if targetsHub(app) {
		return app.Namespace
	}
	if app.Spec.Namespace != "" {
		return app.Spec.Namespace
	}
	// Whatever other projects claim: what runs must not move because of them.
	patterns := Claims(Namespaces(project.Name, project.Spec.Namespaces))
	if Owns(patterns, app.Name) {
		return app.Name
	}
	for _, p := range patterns {
		if !strings.HasSuffix(p, "*") {
			return p
		}
	}
	if prefix := strings.TrimSuffix(patterns[0], "*"); prefix != "" {
		return prefix + app.Name
	}
	return app.Name
}

// Bindings are the values of ${atoll:cluster.…} and ${atoll:var.…} on a cluster.
func Bindings(app *v1alpha1.Application, cluster *v1alpha1.Cluster) map[string]string {
	b := map[string]string{
		"cluster.name":         cluster.Name,
		"cluster.provider":     cluster.Spec.Provider,
		"cluster.region":       cluster.Spec.Region,
		"cluster.account":      cluster.Spec.Account,
		"cluster.jurisdiction": cluster.Spec.Jurisdiction,
		"cluster.tenant":       cluster.Spec.Tenant,
	}
	for k, v := range cluster.Labels {
		b["cluster.label."+k] = v
	}
	for k, v := range app.Spec.Variables {
		b["var."+k] = v
	}
	return b
}

// Allows reports whether the annotation's value, digests separated by commas,
// names the digest of a held deletion.
func Allows(annotation, digest string) bool {
	return digest != "" && slices.ContainsFunc(strings.Split(annotation, ","), func(d string) bool { return strings.TrimSpace(d) == digest })
}

// Describe is one line for people: what the entry asks for.
func (e Entry) Describe() string {
	verb := "run"
	if e.Withdrawn {
		verb = "let go of"
	}
	return fmt.Sprintf("%s %s at %s", verb, e.Key, e.Revision)
}

func orDefault[T ~string](v, fallback T) T {
	if v == "" {
		return fallback
	}
	return v
}
