package desired_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/desired"
)

// write puts these entries and no others into the cluster's page.
func write(book *desired.Book, cluster string, entries []desired.Entry) *desired.Page {
	wanted := map[desired.Key]desired.Entry{}
	for _, e := range entries {
		wanted[e.Key] = e
	}
	for _, k := range book.Keys() {
		if _, keep := wanted[k]; !keep {
			book.Set(k, nil)
		}
	}
	for k, e := range wanted {
		book.Set(k, map[string]desired.Entry{cluster: e})
	}
	return book.Page(cluster)
}

// A link holds the page that it sent last, while the Book goes on.
func TestAPageStaysAsItWasShown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		book := desired.NewBook(func(string) {})
		type shown struct {
			page *desired.Page
			root desired.Root
		}
		var all []shown
		for range rapid.IntRange(2, 6).Draw(t, "steps") {
			entries := entries(t, "entries")
			page := write(book, "c", entries)
			all = append(all, shown{page, rootOf(t, entries)})
		}
		for _, s := range all {
			if diff := cmp.Diff(s.root.Entries, s.page.Root().Entries, cmpopts.EquateEmpty()); diff != "" || s.page.Digest() != s.root.Digest() {
				t.Fatalf("a page changed after it was shown (-written +shown):\n%s", diff)
			}
		}
		base, target := all[0], all[len(all)-1]
		got, err := target.page.From(base.page).Apply(base.root)
		if err != nil || got.Digest() != target.root.Digest() {
			t.Fatalf("between pages: %v, %v", got.Entries, err)
		}
	})
}

// What a delta leads to is the base of the next: an agent that has applied many
// must judge as one that was told the whole.
func TestARootThatCameOfDeltasIsTheSameAsOneToldWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		book := desired.NewBook(func(string) {})
		page, root := book.Page("c"), desired.Root{}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			next := write(book, "c", entries(t, "entries"))
			got, err := next.From(page).Apply(root)
			if err != nil {
				t.Fatal(err)
			}
			told, err := next.Whole().Apply(desired.Root{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(told.Entries, got.Entries, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("(-whole +deltas):\n%s", diff)
			}
			again, err := desired.NewRoot(got.Entries)
			if err != nil || again.Digest() != got.Digest() {
				t.Fatalf("the digest that is carried on is %s, that of the entries %s, %v", got.Digest(), again.Digest(), err)
			}
			page, root = next, got
		}
	})
}
