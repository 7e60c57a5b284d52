package recovery

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// project is one that some application of which is remembered. Its selector of
// clusters, tenant and residency were never told to agents.
func (p planner) project(name string, claims []claim) Project {
	out := Project{Name: name}
	if slices.ContainsFunc(p.known.Projects, func(k v1alpha1.Project) bool { return k.Name == name }) {
		out.Known = true
		return out
	}
	one, differ := chosen(claims, func(c claim) string { return bounds(name, c.Policy) }, p.prefer)
	if len(differ) > 0 {
		out.Problems = append(out.Problems, "clusters remember different bounds: "+strings.Join(differ, "; "))
		return out
	}
	out.Object = &v1alpha1.Project{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Project"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       boundsOf(name, one.Policy),
	}
	// They count on every cluster, and one agent may be all that vouches for them.
	var by []string
	for _, c := range claims {
		if bounds(name, c.Policy) == bounds(name, one.Policy) {
			by = append(by, c.cluster)
		}
	}
	slices.Sort(by)
	out.Notes = append(out.Notes, "by the word of "+shortList(slices.Compact(by))+": "+bounds(name, one.Policy))
	return out
}

// boundsOf is the part of a policy that is a project's.
func boundsOf(project string, p desired.Policy) v1alpha1.ProjectSpec {
	spec := v1alpha1.ProjectSpec{Kinds: p.Kinds, Privileged: p.Privileged, ForbidPause: p.ForbidPause}
	// What other projects took from it shows again when those are there.
	if own := desired.Claims(p.Namespaces); !slices.Equal(own, desired.Namespaces(project, nil)) {
		spec.Namespaces = own
	}
	if p.DeletionBudget != desired.DefaultDeletionBudget {
		budget := p.DeletionBudget
		spec.DeletionBudget = &budget
	}
	return spec
}

// bounds are the same in words, equal where they are equal.
func bounds(project string, p desired.Policy) string {
	said := []string{"namespaces " + strings.Join(desired.Claims(p.Namespaces), ", ")}
	if p.Privileged {
		said = append(said, "privileged")
	}
	for _, k := range p.Kinds {
		said = append(said, "kind "+strings.TrimPrefix(k.Group+"/"+k.Kind, "/"))
	}
	if p.ForbidPause {
		said = append(said, "pauses forbidden")
	}
	return strings.Join(append(said, fmt.Sprintf("budget %d", p.DeletionBudget)), ", ")
}

// own is the part of a policy that is an application's.
func own(p desired.Policy) desired.Policy {
	return desired.Policy{
		DriftMode: p.DriftMode, Ignore: p.Ignore, Exact: p.Exact, Adopt: p.Adopt, OnDelete: p.OnDelete, Health: p.Health, Retry: p.Retry,
	}
}

// digestOf tells values apart that people need not read.
func digestOf(v any) desired.Digest {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // only unencodable types fail, and ours are fixed
	}
	return desired.Sum(data)
}
