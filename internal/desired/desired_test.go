package desired_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// full has every field set, so that none can lose its number unseen.
func full() desired.Entry {
	return desired.Entry{
		Key: desired.Key{Project: "demo", Application: "shop"}, UID: "uid-1", Generation: 7,
		Revision: "shop-0123456789ab", Content: desired.Sum([]byte("content")), Namespace: "shop",
		Bindings: map[string]string{"cluster.region": "eu-1", "var.color": "red"},
		Policy: desired.Policy{
			DriftMode: v1alpha1.DriftCorrect,
			Ignore:    []v1alpha1.FieldRule{{Group: "apps", Kind: "Deployment", Name: "web", Paths: []string{"spec.replicas"}}},
			Exact:     []v1alpha1.FieldRule{{Kind: "ConfigMap", Paths: []string{"data"}}},
			Adopt:     true, OnDelete: v1alpha1.Delete,
			Health:     []v1alpha1.HealthRule{{Group: "example.com", Kind: "Ring", Healthy: "true", Degraded: "false", AssumeHealthy: true}},
			Privileged: true, Namespaces: []string{"shop", "shop-*"},
			Kinds:       []v1alpha1.GroupKind{{Group: "example.com", Kind: "Ring"}},
			ForbidPause: true, DeletionBudget: 10,
		},
		Withdrawn: true, AllowDeletion: "sha256:abc", Hold: true,
	}
}

// Digests are compared between hubs and agents of different versions: a change
// here makes every agent of a fleet fetch and compare everything again.
func TestDigestsNeverChange(t *testing.T) {
	root, err := desired.NewRoot([]desired.Entry{full(), {Key: desired.Key{Project: "demo", Application: "api"}}})
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]desired.Digest{
		"an entry":   {full().Digest(), "sha256:93ef31e90b5be34e3810acfa5904bb436991ccd6422fe4b0afe5e24f183bae6f"},
		"a root":     {root.Digest(), "sha256:0ec93a42fe6eed609625fe07da7db7b0e0eca71e94502a80f80951f2deb3b200"},
		"an empty":   {desired.Root{}.Digest(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"some bytes": {desired.Sum([]byte("x")), "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("the digest of %s is %s, was %s", what, pair[0], pair[1])
		}
	}
}

func TestEveryFieldOfAnEntryCountsInItsDigest(t *testing.T) {
	seen := map[desired.Digest]string{full().Digest(): "nothing changed"}
	for name, change := range map[string]func(*desired.Entry){
		"uid":            func(e *desired.Entry) { e.UID = "other" },
		"generation":     func(e *desired.Entry) { e.Generation++ },
		"content":        func(e *desired.Entry) { e.Content = desired.Sum(nil) },
		"namespace":      func(e *desired.Entry) { e.Namespace = "other" },
		"bindings":       func(e *desired.Entry) { e.Bindings = nil },
		"budget":         func(e *desired.Entry) { e.Policy.DeletionBudget = 0 },
		"privileged":     func(e *desired.Entry) { e.Policy.Privileged = false },
		"kinds":          func(e *desired.Entry) { e.Policy.Kinds = nil },
		"withdrawn":      func(e *desired.Entry) { e.Withdrawn = false },
		"allow deletion": func(e *desired.Entry) { e.AllowDeletion = "" },
		"hold":           func(e *desired.Entry) { e.Hold = false },
		"continues":      func(e *desired.Entry) { e.Continues = "another" },
		"retry":          func(e *desired.Entry) { e.Policy.Retry = &desired.Retry{First: 1} },
	} {
		e := full()
		change(&e)
		if same, ok := seen[e.Digest()]; ok {
			t.Errorf("changing %s gives the digest of %s", name, same)
		}
		seen[e.Digest()] = name
	}
}

func TestADigestSurvivesTheWire(t *testing.T) {
	data, err := cbor.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	var back desired.Entry
	if err := cbor.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), back); diff != "" || back.Digest() != full().Digest() {
		t.Errorf("digest %s, was %s:\n%s", back.Digest(), full().Digest(), diff)
	}
}

func entries(t *rapid.T, label string) []desired.Entry {
	apps := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}), 0, 6, rapid.ID[string]).Draw(t, label)
	var out []desired.Entry
	for _, app := range apps {
		out = append(out, desired.Entry{
			Key:        desired.Key{Project: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "project"), Application: app},
			Generation: rapid.Int64Range(1, 3).Draw(t, "generation"),
			Hold:       rapid.Bool().Draw(t, "hold"),
		})
	}
	return out
}

func rootOf(t interface{ Fatal(...any) }, entries []desired.Entry) desired.Root {
	root, err := desired.NewRoot(entries)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestADeltaTurnsTheBaseIntoTheTargetAndNothingElseIntoAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		book := desired.NewBook(func(string) {})
		from, to := write(book, "c", entries(t, "base")), write(book, "c", entries(t, "target"))
		base, target, other := from.Root(), to.Root(), rootOf(t, entries(t, "other"))
		d := to.From(from)
		got, err := d.Apply(base)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(target.Entries, got.Entries, cmpopts.EquateEmpty()); diff != "" || got.Digest() != target.Digest() {
			t.Fatalf("not the target:\n%s", diff)
		}
		if len(d.Upserts) > len(target.Entries) || base.Digest() == target.Digest() && len(d.Upserts)+len(d.Removes) > 0 {
			t.Fatalf("%d upserts and %d removals say more than differs", len(d.Upserts), len(d.Removes))
		}
		if other.Digest() != base.Digest() {
			if got, err := d.Apply(other); err == nil {
				t.Fatalf("a foreign base gave %v", got.Entries)
			}
		}
		if got, err := desired.Whole(target).Apply(other); err != nil || got.Digest() != target.Digest() {
			t.Fatalf("the whole over another base: %v, %v", got.Digest(), err)
		}
		forged := d
		forged.Target = desired.Sum([]byte("forged"))
		if _, err := forged.Apply(base); err == nil {
			t.Fatal("a forged target was taken")
		}
		if len(d.Upserts) > 0 {
			lost := d
			lost.Upserts = d.Upserts[1:]
			if _, err := lost.Apply(base); err == nil {
				t.Fatal("a delta that lost an entry was taken")
			}
		}
	})
}

func TestAKeyGivenTwiceIsRefused(t *testing.T) {
	e := desired.Entry{Key: desired.Key{Project: "p", Application: "a"}}
	if _, err := desired.NewRoot([]desired.Entry{e, e}); err == nil || !strings.Contains(err.Error(), "p/a") {
		t.Errorf("got %v", err)
	}
}

func TestRootsFindWhatTheyHold(t *testing.T) {
	var all []desired.Entry
	for i := range 20 {
		all = append(all, desired.Entry{Key: desired.Key{Project: "p", Application: fmt.Sprint("a", i)}, Content: desired.Sum([]byte{byte(i % 3)})})
	}
	root := rootOf(t, all)
	for _, e := range all {
		if got, ok := root.Get(e.Key); !ok || got.Content != e.Content {
			t.Errorf("%s is not found", e.Key)
		}
	}
	if _, ok := root.Get(desired.Key{Project: "p", Application: "nobody"}); ok {
		t.Error("found what is not there")
	}
	if got := root.Contents(); len(got) != 3 || !slices.IsSorted(got) {
		t.Errorf("contents %v", got)
	}
}

func TestWhereObjectsWithoutANamespaceGo(t *testing.T) {
	for name, tt := range map[string]struct {
		app, own string
		patterns []string
		want     string
	}{
		"its own choice wins":                                  {"shop", "elsewhere", nil, "elsewhere"},
		"the project's own namespace by default":               {"shop", "", nil, "demo"},
		"its name when the project owns that by default":       {"demo-web", "", nil, "demo-web"},
		"its name when the project lists that":                 {"shop", "", []string{"shop"}, "shop"},
		"the first plain namespace":                            {"web", "", []string{"shop-*", "shop"}, "shop"},
		"a name below the prefix when there are only prefixes": {"web", "", []string{"shop-*"}, "shop-web"},
		"its name when the project owns everything":            {"web", "", []string{"*"}, "web"},
	} {
		t.Run(name, func(t *testing.T) {
			app, project := &v1alpha1.Application{}, &v1alpha1.Project{}
			app.Name, app.Spec.Namespace, project.Name, project.Spec.Namespaces = tt.app, tt.own, "demo", tt.patterns
			got := desired.MemberNamespace(app, project)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if tt.own == "" && !desired.Owns(desired.Namespaces("demo", tt.patterns), got) {
				t.Errorf("%q is not the project's", got)
			}
		})
	}
}
