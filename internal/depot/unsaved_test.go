package depot_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/seal"
)

// disk outlives hubs, and takes nothing while it is full.
type disk struct {
	kept map[desired.Digest][]byte
	full bool
}

func (s *disk) Project(string) (depot.Store, error)               { return s, nil }
func (s *disk) Projects(context.Context) ([]string, error)        { return nil, nil }
func (s *disk) Delete(context.Context, desired.Digest) error      { return nil }
func (s *disk) Digests(context.Context) ([]desired.Digest, error) { return nil, nil }
func (s *disk) Stored(context.Context, desired.Digest) (time.Time, error) {
	return time.Time{}, blob.ErrMissing
}

func (s *disk) Put(_ context.Context, d desired.Digest, data []byte) error {
	if s.full {
		return errors.New("no space left")
	}
	s.kept[d] = data
	return nil
}

func (s *disk) Get(_ context.Context, d desired.Digest) ([]byte, error) {
	if data, ok := s.kept[d]; ok {
		return data, nil
	}
	return nil, blob.ErrMissing
}

func inline(name string, n int) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	app.Spec.Source.Inline = fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {n: %q}}", fmt.Sprint(name, n))
	return app
}

// Hubs that are killed at any moment, over a disk that is full at any moment: what
// a hub has admitted can be had from it and from the next one, and what was
// settled is on the disk.
func TestAdmittedContentCanBeHadWheneverTheHubDies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		s := &disk{kept: map[desired.Digest][]byte{}}
		hub := func() *depot.Depot { return depot.New(s, nil, "atoll-system", seal.NewRefKey()) }
		d := hub()
		apps := map[string]*v1alpha1.Application{}
		told := map[string]desired.Digest{}
		admit := func(name string) {
			c, err := d.Admit(ctx, apps[name], "shop")
			if err != nil {
				t.Fatal(err)
			}
			told[name] = c.Digest
		}
		name := rapid.SampledFrom([]string{"a", "b"})
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				n := name.Draw(t, "application")
				apps[n] = inline(n, rapid.IntRange(0, 3).Draw(t, "version"))
				admit(n)
			},
			"settle": func(t *rapid.T) {
				n := name.Draw(t, "application")
				if apps[n] == nil {
					return
				}
				err := d.Settle(ctx, apps[n])
				if _, durable := s.kept[told[n]]; err == nil && !durable {
					t.Fatal("settled, and not on the disk")
				}
			},
			"fill the disk": func(t *rapid.T) { s.full = rapid.Bool().Draw(t, "full") },
			"die": func(*rapid.T) {
				d = hub()
				for n := range apps {
					before := told[n]
					if admit(n); told[n] != before {
						t.Fatalf("the next hub makes %s of it, not %s", told[n].Short(), before.Short())
					}
				}
			},
			"": func(t *rapid.T) {
				for n, digest := range told {
					data, err := d.Content(ctx, "shop", digest)
					if err != nil || desired.Sum(data) != digest {
						t.Fatalf("what %s was told cannot be had: %v", n, err)
					}
					if _, err := d.Content(ctx, "other", digest); err == nil && len(s.kept) == 0 {
						t.Fatal("another project has it")
					}
				}
			},
		})
	})
}

func TestContentThatARolloutMayKeepIsDurableFirst(t *testing.T) {
	for what, change := range map[string]func(*v1alpha1.Application){
		"a rollout that is asked for":   func(a *v1alpha1.Application) { a.Spec.Rollout = &v1alpha1.Rollout{} },
		"a rollout that is under way":   func(a *v1alpha1.Application) { a.Status.Rollout = "run" },
		"a pin":                         func(a *v1alpha1.Application) { a.Spec.Pins = []v1alpha1.Pin{{Revision: "a-0"}} },
		"nothing that keeps an old one": func(*v1alpha1.Application) {},
	} {
		s := &disk{kept: map[desired.Digest][]byte{}}
		plain, app := inline("a", 1), inline("a", 1)
		change(app)
		keeps := app.Spec.Rollout != nil || app.Status.Rollout != "" || len(app.Spec.Pins) > 0
		if _, err := depot.New(s, nil, "atoll-system", seal.NewRefKey()).Admit(t.Context(), app, "shop"); err != nil {
			t.Fatal(err)
		}
		if first := len(s.kept) > 0; first != keeps {
			t.Errorf("%s: durable before it is told: %v", what, first)
		}
		// It came after the content, while the disk was full.
		s = &disk{kept: map[desired.Digest][]byte{}, full: true}
		d := depot.New(s, nil, "atoll-system", seal.NewRefKey())
		if _, err := d.Admit(t.Context(), plain, "shop"); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Admit(t.Context(), app, "shop"); (err != nil) != keeps {
			t.Errorf("%s, after the content: %v", what, err)
		}
	}
}

func TestOfAnApplicationThatIsGoneNothingStays(t *testing.T) {
	s := &disk{kept: map[desired.Digest][]byte{}, full: true}
	d, app := depot.New(s, nil, "atoll-system", seal.NewRefKey()), inline("a", 1)
	c, err := d.Admit(t.Context(), app, "shop")
	if err != nil {
		t.Fatal(err)
	}
	d.Forget(desired.Key{Project: "shop", Application: "a"})
	if _, err := d.Content(t.Context(), "shop", c.Digest); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("it is given out on: %v", err)
	}
}

func TestContentThatIsGivenBackIsWhatItsDigestSays(t *testing.T) {
	s := &disk{kept: map[desired.Digest][]byte{}}
	d := depot.New(s, nil, "atoll-system", seal.NewRefKey())
	c, err := d.Admit(t.Context(), inline("a", 1), "shop")
	if err != nil {
		t.Fatal(err)
	}
	data, err := d.Content(t.Context(), "shop", c.Digest)
	if err != nil {
		t.Fatal(err)
	}
	junk := []byte("junk")
	for what, given := range map[string]struct {
		digest desired.Digest
		data   []byte
	}{"another": {desired.Sum(junk), data}, "cut": {c.Digest, data[:len(data)-1]}, "not a content": {desired.Sum(junk), junk}} {
		_, err := d.Recover(t.Context(), "shop", given.digest, given.data)
		if refused := (*depot.Refused)(nil); !errors.As(err, &refused) || len(s.kept) > 0 {
			t.Errorf("%s: %v, and stored are %d", what, err, len(s.kept))
		}
	}
	if got, err := d.Recover(t.Context(), "shop", c.Digest, data); err != nil || got.Digest != c.Digest || got.Objects != 1 || len(s.kept) != 1 {
		t.Errorf("the whole: %+v, %v", got, err)
	}
}

// TestWhatARolloutComesFromIsDurableBeforeItBegins: a hub that dies would have to
// tell clusters of it again, which another source does not.
func TestWhatARolloutComesFromIsDurableBeforeItBegins(t *testing.T) {
	s := &disk{kept: map[desired.Digest][]byte{}}
	d := depot.New(s, nil, "atoll-system", seal.NewRefKey())
	app := inline("web", 1)
	before, err := d.Admit(t.Context(), app, "shop")
	if err != nil || s.kept[before.Digest] != nil {
		t.Fatalf("it is durable at once: %v", err)
	}
	app = inline("web", 2)
	app.Spec.Rollout = &v1alpha1.Rollout{}
	if after, err := d.Admit(t.Context(), app, "shop"); err != nil || s.kept[before.Digest] == nil || s.kept[after.Digest] == nil {
		t.Errorf("%v, and %d are on the disk", err, len(s.kept))
	}
}
