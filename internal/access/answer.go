package access

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
)

// Held is one right that somebody has by a grant.
type Held struct {
	Role v1alpha1.Role `json:"role"`
	// Scope is a project, or Fleet.
	Scope string `json:"project,omitempty"`
	// Kind is User or Group, Name who has it.
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Grant string `json:"grant"`
	// Until is when it ends; nil is never.
	Until *time.Time `json:"until,omitempty"`
}

// Who asks for one person: their name and the groups that they are in.
type Who struct {
	User   string
	Groups []string
}

func (w Who) is(kind, name string) bool {
	return kind == "User" && name == w.User && name != "" || kind == "Group" && slices.Contains(w.Groups, name)
}

// Everything is what the grants give that have not ended, in the order of places.
func Everything(grants []v1alpha1.AccessGrant, hub string, now time.Time) []Held {
	var out []Held
	for i := range grants {
		g := &grants[i]
		if Ended(g, now) {
			continue
		}
		one := Held{Role: g.Spec.Role, Grant: Key(g)}
		if g.Spec.Until != nil {
			one.Until = &g.Spec.Until.Time
		}
		for _, scope := range Scopes(g, hub) {
			for _, of := range []struct {
				kind  string
				names []string
			}{{"User", g.Spec.Users}, {"Group", g.Spec.Groups}} {
				for _, name := range of.names {
					one.Scope, one.Kind, one.Name = scope, of.kind, name
					out = append(out, one)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Held) int {
		for _, c := range []int{
			strings.Compare(a.Scope, b.Scope), slices.Index(names, a.Role) - slices.Index(names, b.Role),
			strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name), strings.Compare(a.Grant, b.Grant),
		} {
			if c != 0 {
				return c
			}
		}
		return 0
	})
	return out
}

// Of is what one person holds.
func Of(held []Held, who Who) []Held {
	return slices.DeleteFunc(slices.Clone(held), func(h Held) bool { return !who.is(h.Kind, h.Name) })
}

// Can is who may do something: in a project, or, where project is Fleet, to what
// belongs to none or in any project.
func Can(held []Held, verb string, what Resource, project string) []Held {
	allows := map[v1alpha1.Role]bool{}
	for _, role := range Roles() {
		allows[role.Name] = Allows(role.Rules, verb, what.Group, what.Resource)
	}
	return slices.DeleteFunc(slices.Clone(held), func(h Held) bool {
		switch {
		case !allows[h.Role]:
			return true
		case !what.InProject:
			return h.Scope != Fleet
		}
		return project != "" && h.Scope != Fleet && h.Scope != project
	})
}

// Resource is something that roles speak of.
type Resource struct {
	schema.GroupResource
	// InProject is false for what belongs to the whole fleet.
	InProject bool
}

// Resources are what can be asked about, by the words that people use.
var Resources = map[string]Resource{
	"applications": inProject(atollGroup, "applications"),
	"revisions":    inProject(atollGroup, "revisions"),
	"rolloutruns":  inProject(atollGroup, "rolloutruns"),
	"accessgrants": inProject(atollGroup, "accessgrants"),
	"projects":     ofFleet(atollGroup, "projects"),
	"placements":   ofFleet(atollGroup, "placements"),
	"clusters":     ofFleet(atollGroup, "clusters"),
	"contents":     inProject(fleetGroup, "contents"),
	"plans":        inProject(fleetGroup, "plans"),
	"sync":         inProject(fleetGroup, "applications/sync"),
	"overview":     ofFleet(fleetGroup, "overview"),
	"alerts":       ofFleet(fleetGroup, "alerts"),
	"certificates": ofFleet(fleetGroup, "certificates"),
	"metrics":      ofFleet(fleetGroup, "metrics"),
	"audit":        ofFleet(fleetGroup, "audit"),
	"join":         ofFleet(fleetGroup, "clusters/join"),
	"memory":       ofFleet(fleetGroup, "clusters/memory"),
	"proxy":        ofFleet(fleetGroup, "clusters/proxy"),
	"report":       ofFleet(fleetGroup, "clusters/report"),
	"secrets":      inProject("", "secrets"),
	"configmaps":   inProject("", "configmaps"),
}

func inProject(group, resource string) Resource {
	return Resource{schema.GroupResource{Group: group, Resource: resource}, true}
}

func ofFleet(group, resource string) Resource {
	return Resource{schema.GroupResource{Group: group, Resource: resource}, false}
}

// Verbs are all verbs that any role speaks of, sorted.
func Verbs() []string {
	var out []string
	for _, role := range Roles() {
		for _, r := range role.Rules {
			out = append(out, r.Verbs...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
