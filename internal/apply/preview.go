package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/report"
)

// Action is what a sync would do to an object.
type Action string

// The actions of a Difference.
const (
	ActionCreate Action = "Create"
	ActionChange Action = "Change"
	ActionDelete Action = "Delete"
	// ActionRefused: the member would not take it; the message says why.
	ActionRefused Action = "Refused"
)

// Difference is how one object differs from what is asked.
type Difference struct {
	Ref     report.ObjectRef
	Action  Action
	Changes []report.Change
	Message string
}

// Preview says what a sync would do to an entry now: each object is applied as
// a dry run by the member's own API server and held against the live one, so
// defaults and admission are in the answer. Nothing is written.
func (e *Engine) Preview(ctx context.Context, key desired.Key) ([]Difference, error) {
	jobs, removals, err := e.previewJobs(key)
	if err != nil {
		return nil, err
	}
	var out []Difference
	for _, j := range jobs {
		d, err := e.previewOne(ctx, j)
		if err != nil {
			return nil, err
		}
		if d != nil {
			out = append(out, *d)
		}
	}
	return append(out, removals...), nil
}

func (e *Engine) previewJobs(key desired.Key) ([]job, []Difference, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	en, ok := e.entries[key]
	if !ok {
		return nil, nil, fmt.Errorf("%s: %w", key, ErrUnknownEntry)
	}
	project := key.Project
	if en.want.Policy.Privileged {
		project = ""
	}
	var jobs []job
	var removals []Difference
	for _, id := range sortedIDs(en.objects) {
		o := en.objects[id]
		if o.hook != nil {
			if !o.over() {
				removals = append(removals, Difference{Ref: o.ref, Action: ActionCreate, Message: "a hook, which runs once for this content"})
			}
			continue
		}
		if o.kept() {
			continue
		}
		if !o.wanted() {
			removals = append(removals, Difference{Ref: o.ref, Action: ActionDelete, Message: "no longer asked for"})
			continue
		}
		jobs = append(jobs, job{
			target: target{kind: o.kind, id: id, project: project},
			want:   en.want, manager: FieldManager(key), object: *o, values: e.values,
		})
	}
	return jobs, removals, nil
}

func (e *Engine) previewOne(ctx context.Context, j job) (*Difference, error) {
	live, err := e.clients.get(ctx, j.target)
	if apierrors.IsNotFound(err) {
		return &Difference{Ref: j.object.ref, Action: ActionCreate}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", j.target.id, err)
	}
	j.object.body = nil // rendered again, without what is given up
	body, _, err := j.body(j.object.giveUp)
	if err != nil {
		return nil, err
	}
	next, err := e.clients.dryRun(ctx, j.target, body, j.manager)
	if err != nil {
		if unreachable(err) {
			return nil, fmt.Errorf("try %s: %w", j.target.id, err)
		}
		return &Difference{Ref: j.object.ref, Action: ActionRefused, Message: clip(err.Error())}, nil
	}
	changes := compare(&j.object, live, next)
	if len(changes) == 0 {
		return nil, nil
	}
	return &Difference{Ref: j.object.ref, Action: ActionChange, Changes: changes}, nil
}

// dryRun is a forced apply that is not stored.
func (c *clients) dryRun(ctx context.Context, t target, body []byte, manager string) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := c.resource(t)
	if err != nil {
		return nil, err
	}
	force := true
	return r.Patch(ctx, t.id.Name, types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: manager, Force: &force, DryRun: []string{metav1.DryRunAll},
	})
}

// compare lists the fields in which a sync would change the live object.
func compare(o *object, live, next *unstructured.Unstructured) []report.Change {
	was, is := flat(live), flat(next)
	paths := maps.Clone(was)
	maps.Copy(paths, is)
	secret := o.id.GroupKind() == secretKind
	var out []report.Change
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if was[path] == is[path] {
			continue
		}
		c := report.Change{Object: o.ref, Path: path, Old: was[path], New: is[path]}
		if secret && !strings.HasPrefix(path, "metadata.") {
			c.Old, c.New = drift.Hidden, drift.Hidden
		}
		out = append(out, c)
	}
	return out
}

// flat is an object as its leaves, without what the server keeps for itself.
func flat(u *unstructured.Unstructured) map[string]string {
	obj := maps.Clone(u.Object)
	delete(obj, "status")
	if metadata, ok := obj["metadata"].(map[string]any); ok {
		metadata = maps.Clone(metadata)
		for _, k := range []string{"managedFields", "resourceVersion", "generation"} {
			delete(metadata, k)
		}
		obj["metadata"] = metadata
	}
	leaves := map[string]string{}
	flatten("", obj, leaves)
	return leaves
}

func flatten(path string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			flatten(joinPath(path, k), child, into)
		}
		if len(v) == 0 {
			into[path] = "{}"
		}
	case []any:
		for i, child := range v {
			flatten(path+"["+strconv.Itoa(i)+"]", child, into)
		}
		if len(v) == 0 {
			into[path] = "[]"
		}
	case string:
		into[path] = v
	default:
		data, err := json.Marshal(v)
		if err != nil {
			data = []byte(fmt.Sprint(v))
		}
		into[path] = string(data)
	}
}

func joinPath(path, key string) string {
	if strings.ContainsAny(key, "./[]") {
		return path + "[" + key + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
