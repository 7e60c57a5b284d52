package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/syncoption"
)

// Make compares what each cluster has with what it would get.
func Make(in Input) Plan {
	m := newMaker(in)
	m.finish()
	m.refusals()
	m.apis()
	m.rollout()
	return m.plan
}

// newMaker has all classes, whole and with secret references.
func newMaker(in Input) *maker {
	m := &maker{
		Input: in, plan: Plan{Project: in.Project, Application: in.Application, Placement: in.Next.Placed.Message, Waits: in.Waits},
		contents: map[desired.Digest]*reading{}, byPair: map[pair]*class{}, byChange: map[string]*class{},
	}
	for _, c := range slices.SortedFunc(slices.Values(in.Clusters), func(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) }) {
		m.add(c)
	}
	return m
}

type maker struct {
	Input
	plan     Plan
	contents map[desired.Digest]*reading
	// byPair has a change for entries that ask for the same, so that what a
	// thousand clusters share is compared once; byChange one for changes that
	// are the same though their entries are not.
	byPair   map[pair]*class
	byChange map[string]*class
	classes  []*class
}

type pair struct{ before, after desired.Digest }

// class is a Class in the making.
type class struct {
	Class
	members []Cluster
	after   []object
}

// reading is a content that was read, or why it could not be.
type reading struct {
	bundle content.Bundle
	names  []string
	err    error
}

func (m *maker) content(d desired.Digest) *reading {
	r := m.contents[d]
	if r == nil {
		r = &reading{}
		r.bundle, r.err = m.Content(d)
		r.names, _ = r.bundle.LateBound() // what could never be bound is refused by the policy's check
		m.contents[d] = r
	}
	return r
}

// essence is an entry without what changes nothing in a cluster: counters, and
// values that the content does not refer to.
func (m *maker) essence(e *desired.Entry) *desired.Entry {
	if e == nil {
		return nil
	}
	s := *e
	s.UID, s.Generation = "", 0
	if s.Bindings != nil {
		s.Bindings = map[string]string{}
		for _, name := range m.content(e.Content).names {
			if value, ok := e.Bindings[name]; ok {
				s.Bindings[name] = value
			}
		}
	}
	return &s
}

func digestOf(e *desired.Entry) desired.Digest {
	if e == nil {
		return ""
	}
	return e.Digest()
}

func (m *maker) add(c Cluster) {
	before, after := m.essence(c.Before), m.essence(c.After)
	at := pair{digestOf(before), digestOf(after)}
	switch {
	case at.before == at.after, after != nil && after.Hold, !runs(before) && !runs(after) && (before == nil || !before.Hold):
		m.plan.Unchanged++
		return
	case before != nil && before.Hold:
		m.unknown(c.Name, "the hub asks it to keep what it has, and does not know now what that is")
		return
	}
	known := m.byPair[at]
	if known == nil {
		made, err := m.compare(before, after)
		if err != nil {
			m.unknown(c.Name, err.Error())
			return
		}
		if made == nil {
			m.plan.Unchanged++
			return
		}
		known = m.join(made)
		m.byPair[at] = known
	}
	known.members = append(known.members, c)
	known.Clusters = append(known.Clusters, c.Name)
	switch {
	case known.Effect == EffectDeliver:
		m.plan.Gained = append(m.plan.Gained, c.Name)
	case known.Effect != EffectChange:
		m.plan.Lost = append(m.plan.Lost, c.Name)
	}
}

// join finds the class of the same change.
func (m *maker) join(made *class) *class {
	data, err := json.Marshal(made.Class)
	if err != nil {
		panic(fmt.Sprintf("a change cannot be written as JSON: %v", err)) // manifests are JSON
	}
	if known := m.byChange[string(data)]; known != nil {
		return known
	}
	m.byChange[string(data)] = made
	m.classes = append(m.classes, made)
	return made
}

// compare is the change between two entries; nil when there is none.
func (m *maker) compare(before, after *desired.Entry) (*class, error) {
	c := &class{Class: Class{Effect: EffectChange}}
	old, err := m.objects(before)
	if err != nil {
		return nil, err
	}
	if c.after, err = m.objects(after); err != nil {
		return nil, err
	}
	switch {
	case !runs(before):
		c.Effect = EffectDeliver
	case after == nil || after.Withdrawn && after.Policy.OnDelete != v1alpha1.Delete:
		c.Effect, c.From = EffectOrphan, before.Revision
		return c, nil
	case after.Withdrawn:
		c.Effect = EffectDelete
	default:
		c.Settings = settings(before, after)
	}
	if runs(before) {
		c.From = before.Revision
	}
	if runs(after) {
		c.To, c.Adopt = after.Revision, after.Policy.Adopt
	}
	keep := syncoption.WhenPruned
	if c.Effect == EffectDelete {
		keep = syncoption.WhenWithdrawn
	}
	c.Objects = compare(old, c.after, keep)
	c.HeldCount, c.Held = heldDeletions(after, c.Objects, len(c.after))
	if c.Effect == EffectChange && len(c.Objects) == 0 && len(c.Settings) == 0 {
		return nil, nil
	}
	return c, nil
}

func (m *maker) objects(e *desired.Entry) ([]object, error) {
	if !runs(e) {
		return nil, nil
	}
	r := m.content(e.Content)
	if r.err != nil {
		return nil, fmt.Errorf("content %s of %s cannot be read: %w", e.Content.Short(), e.Revision, r.err)
	}
	return objects(e, r.bundle)
}

func (m *maker) unknown(cluster, message string) { m.plan.Unsaid(cluster, message) }

// finish orders the classes, loud ones first, and limits what they tell.
func (m *maker) finish() {
	slices.SortStableFunc(m.classes, func(a, b *class) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Clusters[0], b.Clusters[0]))
	})
	for _, c := range m.classes {
		m.plan.Classes = append(m.plan.Classes, c.shown())
	}
	if held := m.Leaving; len(held.Clusters) > 0 {
		m.plan.Held = &Held{Clusters: held.Clusters, Message: held.Why(m.Application)}
	}
}

func (c *class) rank() int {
	switch deletes := len(c.Objects) > 0 && c.Objects[0].Action == Delete; {
	case c.Effect == EffectDelete:
		return 0
	case deletes:
		return 1
	case c.Effect == EffectOrphan:
		return 2
	case c.Effect == EffectChange:
		return 3
	}
	return 4
}

// shown counts all objects and tells the first of them, without secret values.
func (c *class) shown() Class {
	out := c.Class
	out.Objects = nil
	for _, o := range c.Objects {
		switch o.Action {
		case Delete:
			out.Deleted++
		case Change:
			out.Changed++
		case Create:
			out.Created++
		case Keep:
			out.Kept++
		}
		if len(out.Objects) < MaxObjects {
			out.Objects = append(out.Objects, o.shown())
		}
	}
	out.Settings = fieldsShown(c.Settings, false)
	return out
}

func (o Object) shown() Object {
	o.Fields = fieldsShown(o.Fields, object{ref: o.Ref}.secret())
	return o
}

func fieldsShown(fields []Field, secret bool) []Field {
	var out []Field
	for _, f := range fields[:min(len(fields), MaxFields)] {
		out = append(out, f.shown(secret))
	}
	return out
}

// refusals name the chosen clusters that would not get it.
func (m *maker) refusals() {
	kept := m.kept()
	next := m.Next.Accepted
	for _, p := range m.Refused {
		object := p.Object
		r := Refusal{Reason: p.Reason, Message: p.Message, Object: &object, Clusters: kept}
		if object == (report.ObjectRef{}) {
			r.Object = nil
		}
		m.plan.Refusals = append(m.plan.Refusals, r)
	}
	switch {
	case next.True || next.Reason == "" || len(m.Refused) > 0:
	case next.Reason == Fetching:
		m.unknown("", next.Message+"; what its source holds is known when the hub has fetched it")
	default:
		m.plan.Refusals = append(m.plan.Refusals, Refusal{Reason: next.Reason, Message: next.Message, Clusters: kept})
	}
}

// Fetching is the reason of an application whose present source was never read.
const Fetching = "Fetching"

// kept are chosen clusters that keep what they have, or get nothing.
func (m *maker) kept() []string {
	var kept []string
	for _, name := range m.Next.Decision.Chosen {
		if e, ok := m.Next.Entries[name]; !ok || e.Hold {
			kept = append(kept, name)
		}
	}
	return kept
}

// rollout tells the waves of a change that begins or is under way.
func (m *maker) rollout() {
	if m.Run == nil || m.Run.Status.Phase.Final() {
		return
	}
	p := m.Run.Spec.Plan
	m.plan.Rollout = &Rollout{Waves: p.Waves, OnFailure: p.OnFailure, Absent: p.Absent}
	if m.Run.ResourceVersion != "" { // it is stored: it has begun
		m.plan.Rollout.Phase = m.Run.Status.Phase
	}
}
