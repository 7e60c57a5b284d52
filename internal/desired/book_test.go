package desired_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/desired"
)

func TestABookHoldsWhatWasSetLastAndTellsWhoChanged(t *testing.T) {
	clusters := []string{"a", "b", "c"}
	keys := []desired.Key{{Project: "p", Application: "x"}, {Project: "p", Application: "y"}}
	rapid.Check(t, func(t *rapid.T) {
		told := map[string]bool{}
		book := desired.NewBook(func(c string) { told[c] = true })
		model := map[string]map[desired.Key]desired.Entry{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			key := rapid.SampledFrom(keys).Draw(t, "key")
			set := map[string]desired.Entry{}
			for _, c := range rapid.SliceOfDistinct(rapid.SampledFrom(clusters), rapid.ID[string]).Draw(t, "clusters") {
				set[c] = desired.Entry{Key: key, Generation: rapid.Int64Range(1, 2).Draw(t, "generation")}
			}
			changed := map[string]bool{}
			for _, c := range clusters {
				if model[c] == nil {
					model[c] = map[desired.Key]desired.Entry{}
				}
				old, had := model[c][key]
				now, has := set[c]
				if has {
					model[c][key] = now
				} else {
					delete(model[c], key)
				}
				if had != has || had && old.Digest() != now.Digest() {
					changed[c] = true
				}
			}
			clear(told)
			got := slices.Sorted(slices.Values(book.Set(key, set)))
			if diff := cmp.Diff(slices.Sorted(maps.Keys(changed)), got); diff != "" {
				t.Fatalf("changed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(changed, told); diff != "" {
				t.Fatalf("told (-want +got):\n%s", diff)
			}
			for _, c := range clusters {
				want, err := desired.NewRoot(slices.Collect(maps.Values(model[c])))
				if err != nil {
					t.Fatal(err)
				}
				if root := book.Root(c); root.Digest() != want.Digest() {
					t.Fatalf("cluster %s has %v, want %v", c, root.Entries, want.Entries)
				}
				for _, k := range keys {
					e, digest, ok := book.Get(c, k)
					if w, should := model[c][k]; ok != should || ok && (e.Digest() != w.Digest() || digest != w.Digest()) {
						t.Fatalf("%s on %s: %v %v", k, c, e, ok)
					}
				}
			}
		}
	})
}

func TestNothingMayBeReadAsTheWholeBeforeTheBookIsComplete(t *testing.T) {
	book := desired.NewBook(func(string) {})
	select {
	case <-book.Complete():
		t.Fatal("complete from the start")
	default:
	}
	book.MarkComplete()
	book.MarkComplete()
	<-book.Complete()
}

func TestAClusterMayFetchOnlyWhatItsOwnRootRefersTo(t *testing.T) {
	book := desired.NewBook(func(string) {})
	mine, theirs := desired.Sum([]byte("mine")), desired.Sum([]byte("theirs"))
	book.Set(desired.Key{Project: "p", Application: "x"}, map[string]desired.Entry{
		"a": {Key: desired.Key{Project: "p", Application: "x"}, Content: mine},
		"b": {Key: desired.Key{Project: "p", Application: "x"}, Content: theirs},
	})
	if project, ok := book.Page("a").Uses(mine); !ok || project != "p" {
		t.Errorf("a may not fetch its own: %q %v", project, ok)
	}
	if _, ok := book.Page("a").Uses(theirs); ok {
		t.Error("a may fetch b's")
	}
	if _, ok := book.Page("nobody").Uses(mine); ok {
		t.Error("a stranger may fetch")
	}
}

// The race detector is the judge here.
func TestABookIsReadWhileItIsWritten(t *testing.T) {
	book := desired.NewBook(func(string) {})
	var wg sync.WaitGroup
	for w := range 4 {
		key := desired.Key{Project: "p", Application: fmt.Sprint("app-", w)}
		wg.Go(func() {
			for i := range int64(200) {
				book.Set(key, map[string]desired.Entry{"a": {Key: key, Generation: i, Bindings: map[string]string{"x": "y"}}})
			}
		})
		wg.Go(func() {
			for range 200 {
				root := book.Root("a")
				if again, err := desired.Whole(root).Apply(desired.Root{}); err != nil || again.Digest() != root.Digest() {
					t.Errorf("a torn root: %v", err)
				}
				book.Page("a").Uses("x")
				book.Keys()
			}
		})
	}
	wg.Wait()
	if got := len(book.Root("a").Entries); got != 4 {
		t.Errorf("%d entries", got)
	}
}
