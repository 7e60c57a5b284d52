package source

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// vault counts how often it is asked; each answer has another version.
type vault struct {
	client.Reader
	asked int
	err   error
}

func (v *vault) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	v.asked++
	into.SetName(name.Name)
	into.SetResourceVersion(fmt.Sprint(v.asked))
	return v.err
}

func TestASecretThatManyApplicationsNameIsReadOnceForAMoment(t *testing.T) {
	v, c := &vault{}, &credentials{}
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	name := types.NamespacedName{Namespace: "shop", Name: "repo"}
	get := func(after, since time.Duration) *corev1.Secret {
		t.Helper()
		s, err := c.get(t.Context(), v, name, begin.Add(since), begin.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for i := range 1000 {
		if s := get(time.Duration(i)*time.Millisecond, -time.Minute); s.ResourceVersion != "1" {
			t.Fatalf("look %d has version %s", i, s.ResourceVersion)
		}
	}
	if s := get(2*time.Second, 2*time.Second); s.ResourceVersion != "2" {
		t.Errorf("a look that somebody asked for has what was read before: version %s", s.ResourceVersion)
	}
	if s := get(2*time.Second+shared+1, 0); s.ResourceVersion != "3" {
		t.Errorf("what is older than a moment is still believed: version %s", s.ResourceVersion)
	}
	name.Name = "other"
	get(time.Minute, 0)
	if len(c.read) != 1 {
		t.Errorf("%d Secrets are remembered, after a moment", len(c.read))
	}
	v.err = errors.New("forbidden")
	name.Name = "third"
	if _, err := c.get(t.Context(), v, name, begin, begin.Add(time.Minute)); err == nil || len(c.read) != 1 {
		t.Errorf("an error is %v, and %d are remembered", err, len(c.read))
	}
}
