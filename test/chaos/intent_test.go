package chaos_test

import (
	"slices"
	"sync"
	"testing"

	"atoll.dev/atoll/api/v1alpha1"
)

// intent is everything that was ever asked, in order: what a member does is
// right when something that was asked explains it.
type intent struct {
	mu   sync.Mutex
	asks map[appID][]appState
}

func (i *intent) ask(id appID, s appState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asks[id] = append(i.asks[id], s)
}

// now is what is asked of every application.
func (i *intent) now() map[appID]appState {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := map[appID]appState{}
	for id, all := range i.asks {
		out[id] = all[len(all)-1]
	}
	return out
}

// wants tells whether an object of a state belongs on a member.
func (s appState) wants(o object, member int) bool {
	return s.Exists && slices.Contains(s.Members, member) && o.extra < s.Extras
}

// placed tells whether content may ever have come to a member.
func (i *intent) placed(o object, member int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(i.asks[o.app], func(s appState) bool { return s.Content == o.content && s.wants(o, member) })
}

// mayDelete tells whether, after an object had come with its content, a state
// was asked for in which it goes.
func (i *intent) mayDelete(o object, member int) bool {
	return i.after(o, func(s appState) bool {
		placed := s.Exists && slices.Contains(s.Members, member)
		return placed && !s.wants(o, member) || !placed && s.OnDelete == v1alpha1.Delete
	})
}

// mayRemain tells whether an object that nobody wants may have been let go of.
func (i *intent) mayRemain(o object, member int) bool {
	return i.after(o, func(s appState) bool {
		return (!s.Exists || !slices.Contains(s.Members, member)) && s.OnDelete == v1alpha1.Orphan
	})
}

func (i *intent) after(o object, holds func(appState) bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.asks[o.app]
	from := slices.IndexFunc(all, func(s appState) bool { return s.Content >= o.content })
	return from >= 0 && slices.ContainsFunc(all[from:], holds)
}

// TestWhatExplainsADeletion: a judge that lets everything pass would be worse
// than none.
func TestWhatExplainsADeletion(t *testing.T) {
	app := appID{"left", "app-1"}
	here := appState{Exists: true, Members: []int{0, 1}, OnDelete: v1alpha1.Delete, Extras: 2, Content: 1}
	with := func(change func(*appState)) appState {
		s := here
		s.Members = slices.Clone(s.Members)
		change(&s)
		return s
	}
	left := with(func(s *appState) { s.Members = []int{1} })
	main, extra := object{app: app, content: 1, extra: -1}, object{app: app, content: 1, extra: 1}
	for _, c := range []struct {
		name        string
		asks        []appState
		o           object
		gone, stays bool
	}{
		{"nothing was asked", []appState{here}, main, false, false},
		{"it left, and deletes", []appState{here, left}, main, true, false},
		{"it left another member", []appState{here, with(func(s *appState) { s.Members = []int{0} })}, main, false, false},
		{"it left, and orphans", []appState{here, with(func(s *appState) { s.Members, s.OnDelete = []int{1}, v1alpha1.Orphan })}, main, false, true},
		{"it left, returned and changed", []appState{here, left, here, with(func(s *appState) { s.Content = 2 })}, object{app: app, content: 2, extra: -1}, false, false},
		{"its content leaves it out", []appState{here, with(func(s *appState) { s.Content, s.Extras = 2, 1 })}, extra, true, false},
		{"its content keeps it", []appState{here, with(func(s *appState) { s.Content = 2 })}, extra, false, false},
		{"it was deleted", []appState{here, with(func(s *appState) { s.Exists = false })}, main, true, false},
		{"it was deleted, and orphans", []appState{here, with(func(s *appState) { s.Exists, s.OnDelete = false, v1alpha1.Orphan })}, main, false, true},
	} {
		i := &intent{asks: map[appID][]appState{app: c.asks}}
		if got := i.mayDelete(c.o, 0); got != c.gone {
			t.Errorf("%s: may be deleted: %v", c.name, got)
		}
		if got := i.mayRemain(c.o, 0); got != c.stays {
			t.Errorf("%s: may remain: %v", c.name, got)
		}
	}
}
