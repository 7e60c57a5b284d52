// Package recovery decides what a hub that lost its store may ask for again: from
// what the agents remember, Projects and Applications that change nothing where
// they are let follow. It is pure. Asking the agents is internal/server's, making
// the objects a person's, through internal/cli; nothing here is ever applied by
// the hub itself.
//
// An agent is believed about its own cluster alone: what it remembers is asked of
// it again, and of no other.
package recovery

import (
	"slices"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// Memory is what one cluster's agent runs by the word of another hub's history.
type Memory struct {
	Cluster string `json:"cluster"`
	// AsOf is when it was asked, by the hub's clock.
	AsOf time.Time `json:"asOf,omitzero"`
	// Follows tells that the agent follows this hub: there is nothing to recover,
	// and it tells nothing.
	Follows bool `json:"follows,omitempty"`
	// Incarnation is the history that the agent follows.
	Incarnation  string    `json:"incarnation,omitempty"`
	Applications []Running `json:"applications,omitempty"`
}

// Running is one application on one cluster.
type Running struct {
	Key desired.Key `json:"key"`
	// UID is under which the agent keeps its records.
	UID      string         `json:"uid,omitempty"`
	Revision string         `json:"revision,omitempty"`
	Content  desired.Digest `json:"content"`
	// After are the applications that it waits for.
	After []string `json:"after,omitempty"`
	// Namespace is where objects go that name none.
	Namespace string         `json:"namespace"`
	Policy    desired.Policy `json:"policy"`
	// Secrets counts the Secrets whose values the member has and the hub has not.
	Secrets int `json:"secrets,omitempty"`
	// LateBinding tells that Bindings count: every variable, and of the cluster what
	// the content refers to.
	LateBinding bool              `json:"lateBinding,omitempty"`
	Bindings    map[string]string `json:"bindings,omitempty"`
	// Withdrawn tells that the agent was letting go of it.
	Withdrawn bool `json:"withdrawn,omitempty"`
	// Missing is why its content cannot be had from this agent.
	Missing string `json:"missing,omitempty"`
}

// Request asks the hub to take a content of a project from one agent.
type Request struct {
	Project string         `json:"project"`
	Content desired.Digest `json:"content"`
}

// Known is what the hub has itself.
type Known struct {
	Clusters     []v1alpha1.Cluster
	Projects     []v1alpha1.Project
	Applications []v1alpha1.Application
}

// Plan is what would be made, sorted by name.
type Plan struct {
	Projects     []Project     `json:"projects,omitempty"`
	Applications []Application `json:"applications,omitempty"`
}

// Project is one that agents name.
type Project struct {
	Name string `json:"name"`
	// Known tells that the hub has it; it stays as it is.
	Known bool `json:"known,omitempty"`
	// Object is to be made; nil when there is nothing to make.
	Object *v1alpha1.Project `json:"object,omitempty"`
	// Problems are why it is not made, Notes what is good to know when it is.
	Problems []string `json:"problems,omitempty"`
	Notes    []string `json:"notes,omitempty"`
}

// Application is one that agents run.
type Application struct {
	Key      desired.Key `json:"key"`
	Clusters []string    `json:"clusters"`
	Revision string      `json:"revision,omitempty"`
	// From is the cluster whose agent gives the content.
	From string `json:"from,omitempty"`
	// Known tells that the hub has it, for all these clusters or with another
	// source; it stays as it is.
	Known bool `json:"known,omitempty"`
	// Object is to be made; nil when there is nothing to make.
	Object *v1alpha1.Application `json:"object,omitempty"`
	// Secrets counts Secrets whose values stay in the members.
	Secrets int `json:"secrets,omitempty"`
	// Problems are why it is not made, Notes what is good to know when it is.
	Problems []string `json:"problems,omitempty"`
	Notes    []string `json:"notes,omitempty"`
}

// Complete tells whether everything that agents remember is known or can be made.
func (p Plan) Complete() bool {
	return !slices.ContainsFunc(p.Projects, func(p Project) bool { return len(p.Problems) > 0 }) &&
		!slices.ContainsFunc(p.Applications, func(a Application) bool { return len(a.Problems) > 0 })
}

// Makes tells whether there is anything to make.
func (p Plan) Makes() bool {
	return slices.ContainsFunc(p.Projects, func(p Project) bool { return p.Object != nil }) ||
		slices.ContainsFunc(p.Applications, func(a Application) bool { return a.Object != nil })
}

// Content is the digest of what would be delivered, "" when nothing would.
func (a Application) Content() desired.Digest {
	if a.Object == nil || a.Object.Spec.Source.Content == nil {
		return ""
	}
	return desired.Digest(a.Object.Spec.Source.Content.Digest)
}
