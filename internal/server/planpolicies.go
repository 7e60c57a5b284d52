package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/compliance"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/defaulting"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/plan"
)

// judging bounds how long the policies of a plan are evaluated: each may cost as
// much for each object as an API server allows.
const judging = 20 * time.Second

const (
	// maxFound is how much of a plan's policies is kept until it is told, and maxSets
	// how many compiled sets are: hostile policies break on everything, and clusters
	// may each have their own.
	maxFound = 50_000
	maxSets  = 8
)

// planned is a plan with what it was made from.
type planned struct {
	*plan.Plan
	sides []plan.Cluster
}

// judge adds to plans which policies their objects would break: those that
// applications deliver to the same clusters, as they would be when all of the plans
// had come true.
type judge struct {
	*planner
	world
	// after has what the plans leave of the Book, nil for nothing.
	after map[string]map[desired.Key]*desired.Entry
	// bases, sets and reports are read, compiled and made once. Bases are by content,
	// of those that are the same on all clusters, or that have nothing to judge by.
	bases   map[string]basis
	sets    map[desired.Digest]compiled
	reports map[string]judged
	found   int // in reports
}

// basis is what objects are judged by: policies with their parameters, and Namespaces.
type basis struct{ policies, namespaces []*unstructured.Unstructured }

type compiled struct {
	set *compliance.Set
	err error
}

type judged struct {
	report compliance.Report
	err    error
}

func (p *planner) judge(ctx context.Context, w world, all []planned) error {
	j := judge{planner: p, world: w, after: map[string]map[desired.Key]*desired.Entry{}, bases: map[string]basis{}, sets: map[desired.Digest]compiled{}, reports: map[string]judged{}}
	for _, one := range all {
		key := desired.Key{Project: one.Project, Application: one.Application}
		for _, side := range one.sides {
			if j.after[side.Name] == nil {
				j.after[side.Name] = map[desired.Key]*desired.Entry{}
			}
			j.after[side.Name][key] = side.After
		}
	}
	limited, cancel := context.WithTimeout(ctx, judging)
	defer cancel()
	for _, one := range all {
		j.plan(limited, one)
	}
	return ctx.Err()
}

// plan judges the clusters on which something changes.
func (j *judge) plan(ctx context.Context, one planned) {
	changing := map[string]bool{}
	for _, c := range one.Classes {
		for _, name := range c.Clusters {
			changing[name] = true
		}
	}
	found := broken{byWords: map[string]int{}}
	for _, side := range one.sides {
		if !changing[side.Name] || side.After == nil || side.After.Withdrawn || side.After.Hold {
			continue
		}
		r := j.cluster(ctx, one.Project, side)
		if r.err != nil {
			one.Unsaid(side.Name, "its policies are not judged by: "+r.err.Error())
			continue
		}
		found.add(side.Name, r.report)
		for _, words := range undecided(r.report) {
			one.Unsaid(side.Name, words)
		}
	}
	one.Policies = found.all
	if more := len(found.all) - plan.MaxObjects; more > 0 {
		one.Policies = found.all[:plan.MaxObjects]
		one.Unsaid("", fmt.Sprintf("%d more violations of policies are not listed", more))
	}
}

// undecided says once for each policy and reason which object could not be judged,
// and of how many.
func undecided(r compliance.Report) []string {
	type reason struct{ policy, why string }
	first, count := map[reason]string{}, map[reason]int{}
	for _, u := range r.Undecided {
		at := reason{u.Policy, u.Why}
		if u.Object == nil {
			continue // of policies that judge nothing there
		}
		if count[at]++; count[at] == 1 {
			first[at] = u.Object.String()
		}
	}
	var all []string
	for at, object := range first {
		if more := count[at] - 1; more > 0 {
			object += fmt.Sprintf(" and %d more", more)
		}
		all = append(all, fmt.Sprintf("policy %s does not judge %s: %s", at.policy, object, at.why))
	}
	slices.Sort(all)
	return all
}

// cluster judges what one cluster would get.
func (j *judge) cluster(ctx context.Context, project string, side plan.Cluster) judged {
	if ctx.Err() != nil {
		return judged{err: tooLong(ctx.Err())}
	}
	rules, name, err := j.rules(ctx, project, side.Name)
	if err != nil || len(rules) == 0 {
		return judged{err: err}
	}
	at := nameOf(side.After) + "|" + name
	if r, ok := j.reports[at]; ok {
		return r
	}
	r := j.evaluate(ctx, project, side.After, rules)
	j.reports[at] = r
	return r
}

func (j *judge) evaluate(ctx context.Context, project string, e *desired.Entry, rules []*unstructured.Unstructured) judged {
	c := j.compiled(ctx, rules)
	if c.err != nil {
		return judged{err: tooLong(c.err)}
	}
	given, err := j.read(ctx, e)
	if err != nil {
		return judged{err: err}
	}
	for _, u := range given {
		if err := defaulting.Fill(u); err != nil {
			return judged{err: fmt.Errorf("%s %s %w", u.GetKind(), u.GetName(), err)}
		}
	}
	account := "atoll-project-" + project
	if e.Policy.Privileged {
		account = "atoll-agent"
	}
	r, err := c.set.Check(ctx, given, compliance.Options{
		Namespace: e.Namespace, User: "system:serviceaccount:" + v1alpha1.SystemNamespace + ":" + account, Now: j.Now(), Most: maxFound - j.found,
	})
	j.found = min(j.found+len(r.Violations)+len(r.Undecided), maxFound-1)
	return judged{report: r, err: tooLong(err)}
}

// compiled is the set of rules. Clusters of which each has its own would have
// memory hold them all.
func (j *judge) compiled(ctx context.Context, rules []*unstructured.Unstructured) compiled {
	sum := sha256.New()
	if err := json.NewEncoder(sum).Encode(rules); err != nil {
		return compiled{err: fmt.Errorf("encode policies: %w", err)}
	}
	name := desired.Digest(hex.EncodeToString(sum.Sum(nil)))
	c, ok := j.sets[name]
	if !ok {
		if c.set, c.err = compliance.CompileWithin(ctx, rules); len(j.sets) == maxSets {
			clear(j.sets)
		}
		j.sets[name] = c
	}
	return c
}

func tooLong(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("to evaluate them takes longer than %s", judging)
	}
	return err
}

// rules are the policies of a cluster, with what is judged by beside them: the
// parameters that come with policies, and Namespaces that the project or a
// privileged one delivers there. The name is the same for clusters with the same.
func (j *judge) rules(ctx context.Context, project, cluster string) ([]*unstructured.Unstructured, string, error) {
	entries := map[desired.Key]*desired.Entry{}
	for _, e := range j.Book.Root(cluster).Entries {
		if e.Key.Project == project || mayRule(&e) {
			entries[e.Key] = &e
		}
	}
	maps.Copy(entries, j.after[cluster])
	var all, namespaces []*unstructured.Unstructured
	var names []string
	for _, key := range slices.SortedFunc(maps.Keys(entries), desired.Key.Compare) {
		e := entries[key]
		if e == nil || e.Withdrawn || e.Hold || key.Project != project && !mayRule(e) {
			continue
		}
		b, err := j.basis(ctx, e)
		if err != nil {
			return nil, "", err
		}
		all, namespaces = append(all, b.policies...), append(namespaces, b.namespaces...)
		if len(b.policies)+len(b.namespaces) > 0 {
			names = append(names, nameOf(e))
		}
	}
	if !slices.ContainsFunc(all, compliance.IsPolicy) {
		return nil, "", nil
	}
	return append(all, namespaces...), strings.Join(names, ","), nil
}

// mayRule tells the projects that may deliver policies from all the others, whose
// contents nobody else's plan has to look into.
func mayRule(e *desired.Entry) bool {
	return e.Policy.Privileged || slices.ContainsFunc(e.Policy.Kinds, func(k v1alpha1.GroupKind) bool { return k.Group == "admissionregistration.k8s.io" })
}

// rulesIn are policies with their parameters, and Namespaces.
func rulesIn(objects []*unstructured.Unstructured) (policies, namespaces []*unstructured.Unstructured) {
	params := map[schema.GroupKind]bool{}
	for _, u := range objects {
		if compliance.IsPolicy(u) {
			policies = append(policies, u)
			kind, _, _ := unstructured.NestedStringMap(u.Object, "spec", "paramKind")
			params[schema.FromAPIVersionAndKind(kind["apiVersion"], kind["kind"]).GroupKind()] = true
		}
	}
	for _, u := range objects {
		gk := u.GroupVersionKind().GroupKind()
		switch {
		case gk == schema.GroupKind{Kind: "Namespace"}:
			namespaces = append(namespaces, u)
		case params[gk]:
			policies = append(policies, u)
		}
	}
	return policies, namespaces
}

// basis is what an entry brings to judge by. Most contents bring nothing, and are
// looked through once, whatever clusters make of them.
func (j *judge) basis(ctx context.Context, e *desired.Entry) (basis, error) {
	names := []string{e.Key.Project + "/" + string(e.Content)}
	if len(e.Bindings) == 0 {
		names = append(names, nameOf(e))
	}
	for _, name := range names {
		if b, ok := j.bases[name]; ok {
			return b, nil
		}
	}
	bundle, err := j.world.depot.Bundle(ctx, e.Key.Project, e.Content)
	if err != nil {
		return basis{}, unread(e, err)
	}
	if !slices.ContainsFunc(bundle.Objects, judgedBy) {
		j.bases[names[0]] = basis{}
		return basis{}, nil
	}
	objects, err := resolve(bundle, e)
	if err != nil {
		return basis{}, err
	}
	var b basis
	b.policies, b.namespaces = rulesIn(objects)
	if len(names) > 1 {
		j.bases[names[1]] = b
	}
	return b, nil
}

// judgedBy tells objects of kinds that come with a basis.
func judgedBy(o content.Object) bool {
	return o.Ref.Group == "admissionregistration.k8s.io" || o.Ref.Group == "" && o.Ref.Kind == "Namespace"
}

// read is the objects of an entry as its cluster would get them.
func (j *judge) read(ctx context.Context, e *desired.Entry) ([]*unstructured.Unstructured, error) {
	bundle, err := j.world.depot.Bundle(ctx, e.Key.Project, e.Content)
	if err != nil {
		return nil, unread(e, err)
	}
	return resolve(bundle, e)
}

// resolve fills in all but the values of Secrets.
func resolve(bundle content.Bundle, e *desired.Entry) ([]*unstructured.Unstructured, error) {
	objects, err := bundle.Resolve(e.Bindings, func(ref string) ([]byte, error) { return []byte(ref), nil })
	if err != nil {
		return nil, unread(e, err)
	}
	return objects, nil
}

func unread(e *desired.Entry, err error) error {
	return fmt.Errorf("content %s of app/%s in %s cannot be read: %w", e.Content.Short(), e.Key.Application, e.Key.Project, err)
}

// nameOf is the same for entries with the same objects.
func nameOf(e *desired.Entry) string {
	return fmt.Sprintf("%s/%s/%s/%v/%q", e.Key.Project, e.Namespace, e.Content, e.Policy.Privileged, e.Bindings)
}

// broken gathers what is the same on several clusters.
type broken struct {
	all     []plan.Broken
	byWords map[string]int
}

func (b *broken) add(cluster string, r compliance.Report) {
	for _, v := range r.Violations {
		if !v.Counts() {
			continue
		}
		one := plan.Broken{Policy: v.Policy, Binding: v.Binding, Severity: string(v.Severity), Effect: string(v.Effect), Controls: v.Controls, Ref: v.Object, Message: v.Message}
		if v.Exemption != nil {
			one.Message += "; " + v.Exemption.Fault
		}
		words := fmt.Sprintf("%s|%s|%s|%s|%s", one.Policy, one.Binding, one.Effect, one.Ref, one.Message)
		i, ok := b.byWords[words]
		if !ok {
			i = len(b.all)
			b.byWords[words], b.all = i, append(b.all, one)
		}
		b.all[i].Clusters = append(b.all[i].Clusters, cluster)
	}
}
