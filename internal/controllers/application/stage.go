package application

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Stage is the hub's objects with some of them as they would be. What is written
// to it is remembered at most, and reaches nobody.
type Stage struct {
	client.Client

	mu sync.Mutex
	// set are the objects that are otherwise; made those that were created here.
	set, made map[staged]client.Object
}

type staged struct {
	schema.GroupKind
	client.ObjectKey
}

// NewStage sets objects over those that c reads.
func NewStage(c client.Client, objects ...client.Object) (*Stage, error) {
	s := &Stage{Client: c, set: map[staged]client.Object{}, made: map[staged]client.Object{}}
	for _, o := range objects {
		key, err := s.key(o)
		if err != nil {
			return nil, err
		}
		s.set[key] = o
	}
	return s, nil
}

func (s *Stage) key(o client.Object) (staged, error) {
	gvk, err := s.GroupVersionKindFor(o)
	if err != nil {
		return staged{}, fmt.Errorf("set %s %s on the stage: %w", o.GetObjectKind().GroupVersionKind().Kind, o.GetName(), err)
	}
	return staged{gvk.GroupKind(), client.ObjectKeyFromObject(o)}, nil
}

// Get prefers what is set and what was made here.
func (s *Stage) Get(ctx context.Context, name client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	key, err := s.key(into)
	if err != nil {
		return err
	}
	key.ObjectKey = name
	s.mu.Lock()
	known := s.set[key]
	if known == nil {
		known = s.made[key]
	}
	s.mu.Unlock()
	if known == nil {
		return s.Client.Get(ctx, name, into, opts...)
	}
	return copyInto(known, into)
}

// copyInto is for objects of one Go type.
func copyInto(from, into client.Object) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(from)
	if err != nil {
		return fmt.Errorf("read %s from the stage: %w", from.GetName(), err)
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(fields, into)
}

// List has what is set in the place of what is there.
func (s *Stage) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if err := s.Client.List(ctx, list, opts...); err != nil {
		return err
	}
	gvk, err := s.GroupVersionKindFor(list)
	if err != nil {
		return err
	}
	kind := schema.GroupKind{Group: gvk.Group, Kind: gvk.Kind[:len(gvk.Kind)-len("List")]}
	set := s.ofKind(kind)
	if len(set) == 0 {
		return nil
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return err
	}
	items = slices.DeleteFunc(items, func(item runtime.Object) bool {
		o, ok := item.(client.Object)
		return ok && s.set[staged{kind, client.ObjectKeyFromObject(o)}] != nil
	})
	return meta.SetList(list, append(items, set...))
}

func (s *Stage) ofKind(kind schema.GroupKind) []runtime.Object {
	var found []runtime.Object
	for key, o := range s.set {
		if key.GroupKind == kind {
			found = append(found, o)
		}
	}
	return found
}

// Create is remembered.
func (s *Stage) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	key, err := s.key(o)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made[key] = o
	return nil
}

// The other writes are forgotten.

func (s *Stage) Update(context.Context, client.Object, ...client.UpdateOption) error { return nil }

func (s *Stage) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	return nil
}

func (s *Stage) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return nil
}

func (s *Stage) Delete(context.Context, client.Object, ...client.DeleteOption) error { return nil }

func (s *Stage) DeleteAllOf(context.Context, client.Object, ...client.DeleteAllOfOption) error {
	return nil
}

// Status forgets what is written to it.
func (s *Stage) Status() client.SubResourceWriter { return forgetful{} }

// SubResource is not for a stage.
func (s *Stage) SubResource(name string) client.SubResourceClient { return forgetful{} }

type forgetful struct{}

func (forgetful) Get(context.Context, client.Object, client.Object, ...client.SubResourceGetOption) error {
	return errors.New("a stage has no subresources")
}

func (forgetful) Create(context.Context, client.Object, client.Object, ...client.SubResourceCreateOption) error {
	return nil
}

func (forgetful) Update(context.Context, client.Object, ...client.SubResourceUpdateOption) error {
	return nil
}

func (forgetful) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return nil
}

func (forgetful) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return nil
}
