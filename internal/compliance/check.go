package compliance

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"atoll.dev/atoll/internal/report"
)

// Options steer a check.
type Options struct {
	// Namespace is where objects without one go.
	Namespace string
	// User creates the objects, as policies see it.
	User string
	// Facts adds the checks that no admission policy can make: Pod Security levels,
	// and what each namespace needs to have.
	Facts bool
	// Now is by what exemptions end.
	Now time.Time
	// Most is how much is found before the check ends with an error; 0 is without end.
	Most int
}

// Check judges objects. Namespaces, definitions of kinds and parameters among them
// count for the others, as do those that came with the policies. The order of the report does not depend on that of the
// objects. A cancelled context ends it with the context's error.
func (s *Set) Check(ctx context.Context, objects []*unstructured.Unstructured, o Options) (Report, error) {
	w := look(s, objects, o)
	checks := s.checks(o)
	found := make([]findings, len(w.objects))
	var all sync.WaitGroup
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var count atomic.Int64
	counted := func() {
		if count.Add(1) > int64(o.Most) && o.Most > 0 {
			end(fmt.Errorf("more than %d things are to be told", o.Most))
		}
	}
	failed := make(chan error, runtime.GOMAXPROCS(0))
	next := make(chan int, len(w.objects))
	for i := range w.objects {
		next <- i
	}
	close(next)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			at := 0
			// Expressions and objects are other people's, and so is what evaluates them:
			// nothing of it may end a hub.
			defer func() {
				if r := recover(); r != nil {
					failed <- fmt.Errorf("judge %s: %v", w.objects[at].ref, r)
				}
			}()
			for at = range next {
				if ctx.Err() != nil {
					return
				}
				found[at].counted = counted
				for _, check := range checks {
					check(ctx, w, &w.objects[at], &found[at])
				}
			}
		})
	}
	all.Wait()
	close(failed)
	if err := cmp.Or(context.Cause(ctx), <-failed); err != nil {
		return Report{}, err
	}
	r := Report{Violations: []Violation{}, Undecided: slices.Clone(s.undecided), Objects: len(w.objects), Policies: len(s.rules)}
	for i := range found {
		r.Violations = append(r.Violations, found[i].violations...)
		r.Undecided = append(r.Undecided, found[i].undecided...)
	}
	if o.Facts {
		r.Policies += len(Facts)
		r.Violations = append(r.Violations, w.facts(o.Now)...)
	}
	r.sort()
	return r, nil
}

type findings struct {
	violations []Violation
	undecided  []Undecided
	counted    func() // one more
}

func (f *findings) violate(v Violation) {
	f.violations = append(f.violations, v)
	f.counted()
}

// check judges one object.
type check func(context.Context, *world, *object, *findings)

func (s *Set) checks(o Options) []check {
	var all []check
	for _, r := range s.rules {
		if len(r.bindings) > 0 {
			all = append(all, func(ctx context.Context, w *world, obj *object, f *findings) { r.check(ctx, w, obj, o.Now, f) })
		}
	}
	if o.Facts {
		security := newPodSecurity()
		all = append(all, func(_ context.Context, w *world, obj *object, f *findings) { security.check(w, obj, o.Now, f) })
	}
	return all
}

// check judges an object by one policy through each of its bindings.
func (r *rule) check(ctx context.Context, w *world, o *object, now time.Time, f *findings) {
	ns := w.namespace(o.namespace)
	exempt := exemption(ns, r.policy.Name, now)
	for _, b := range r.bindings {
		if ctx.Err() != nil {
			return
		}
		how := r.about(b, o, ns.labels)
		var excuse *Exemption
		if how == apart && exempt != nil {
			// Would it be about the object, were it not exempt?
			how, excuse = r.about(b, o, unexempt(ns.labels)), exempt
		}
		switch how {
		case about:
			r.through(ctx, w, o, b, excuse, f)
		case elsewhere:
			f.undecide(r.policy.Name, o, "the policy is about another version of its API, to which an API server would convert it: deliver it in that version, or name both in the policy")
		}
	}
}

func (r *rule) about(b binding, o *object, namespace map[string]string) matching {
	how := r.match.matches(o, namespace)
	if how == apart || b.match == nil {
		return how
	}
	switch b.match.matches(o, namespace) {
	case apart:
		return apart
	case elsewhere:
		return elsewhere
	}
	return how
}

// through judges by one binding, once for each parameter.
func (r *rule) through(ctx context.Context, w *world, o *object, b binding, excuse *Exemption, f *findings) {
	name := r.policy.Name
	params, err := w.paramsOf(r.policy.Spec.ParamKind, b, o)
	if err != nil {
		if *r.policy.Spec.FailurePolicy != admissionv1.Ignore {
			// Refused whatever the binding's actions are.
			v := verdict{rule: "spec.paramKind", message: "failed to configure binding: " + err.Error(), failed: true, always: true}
			f.violate(r.violation(w, o, b, v, excuse))
		}
		return
	}
	if len(params) == 0 {
		f.undecide(name, o, "there are no parameters for it in binding "+b.Name+", so that a cluster without them judges nothing")
		return
	}
	for _, p := range params {
		if ctx.Err() != nil {
			return
		}
		e := evaluator{programs: r.programs, activation: activation{object: o.manifest.Object, request: o.described(w.user)}}
		if p != nil {
			e.activation.params = p.Object
		}
		if o.namespace != "" && !o.isNamespace() {
			e.activation.namespace = w.namespace(o.namespace).object
		}
		verdicts := e.judge(ctx, r.policy)
		if e.activation.asked {
			f.undecide(name, o, "the policy asks what its author may do in the cluster, which only the cluster knows")
			continue
		}
		for _, v := range verdicts {
			f.violate(r.violation(w, o, b, v, excuse))
		}
	}
}

func (r *rule) violation(w *world, o *object, b binding, v verdict, excuse *Exemption) Violation {
	out := Violation{
		Policy: r.policy.Name, Binding: b.Name, Severity: r.severity, Effect: b.effect, Controls: r.controls,
		Object: o.ref, Rule: v.rule, Message: v.message, Failed: v.failed, Owner: w.owner(o), Exemption: excuse,
	}
	if v.always {
		out.Effect = Deny
	}
	return out
}

func (f *findings) undecide(policy string, o *object, why string) {
	ref := report.ObjectRef(o.ref)
	f.undecided = append(f.undecided, Undecided{Policy: policy, Object: &ref, Why: why})
	f.counted()
}

// described is the API server's description of the creation by a user. One goroutine
// judges an object.
func (o *object) described(user string) map[string]any {
	if o.request != nil {
		return o.request
	}
	kind := map[string]any{"group": o.ref.Group, "version": o.ref.Version, "kind": o.ref.Kind}
	resource := map[string]any{"group": o.resource.Group, "version": o.resource.Version, "resource": o.resource.Resource}
	o.request = map[string]any{
		"kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource,
		"name": o.ref.Name, "operation": "CREATE", "dryRun": false,
		"userInfo": map[string]any{"username": user, "groups": []any{"system:serviceaccounts", "system:authenticated"}},
		"options":  map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
	}
	if o.namespace != "" {
		o.request["namespace"] = o.namespace
	}
	return o.request
}
