package agent

import (
	"slices"
	"testing"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/wire"
)

// TestWhatTheHubHasNotSpokenOfIsRecalled: an entry is no more than memory until
// the hub has said what it is to be, and not merely that it cannot tell.
func TestWhatTheHubHasNotSpokenOfIsRecalled(t *testing.T) {
	entry := func(app string) desired.Entry {
		return desired.Entry{Key: desired.Key{Project: "demo", Application: app}, UID: app, Generation: 2}
	}
	root := func(entries ...desired.Entry) desired.Root {
		r, err := desired.NewRoot(entries)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	known := wire.Stamp{Incarnation: "one", Term: 4}
	stored := root(entry("a"), entry("b"))
	hold, older := entry("a"), entry("b")
	hold.Hold, older.Generation = true, 1
	for _, c := range []struct {
		name string
		hear func(*memory) error
		want []string
	}{
		{"nobody has spoken", func(*memory) error { return nil }, []string{"a", "b"}},
		{"the hub wants the same", func(m *memory) error {
			m.confirm(wire.Stamp{Incarnation: "one", Term: 5}, "")
			return nil
		}, nil},
		{"the hub wants something else", func(m *memory) error {
			return m.announce(desired.Whole(root(entry("a"))), wire.Stamp{Incarnation: "one", Term: 5}, "")
		}, nil},
		{"the hub cannot tell of one", func(m *memory) error {
			return m.announce(desired.Whole(root(hold, entry("b"))), wire.Stamp{Incarnation: "one", Term: 5}, "")
		}, []string{"a"}},
		{"a restored hub asks for less of one", func(m *memory) error {
			return m.announce(desired.Whole(root(entry("a"), older)), wire.Stamp{Incarnation: "two", Term: 1}, "")
		}, []string{"b"}},
	} {
		m, e := remembering(t, &shelf{kept: localstore.Snapshot{Seen: known, Root: stored}})
		if err := c.hear(m); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range e.recalled {
			got = append(got, k.Application)
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%s: recalled are %v, want %v", c.name, got, c.want)
		}
	}
}
