package observed

import (
	"maps"
	"slices"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// said is what a cluster says of its applications, sorted by key. It is never
// altered: a report of one application makes another list of pointers, and the
// states that stayed, of hundreds, are shared.
type said []*word

// word is a state with its digest; nobody writes to it.
type word struct {
	report.State
	digest desired.Digest
}

func wordOf(s report.State) *word { return &word{State: s, digest: s.Digest()} }

func wordsOf(states map[desired.Key]report.State) said {
	var all said
	for _, k := range slices.SortedFunc(maps.Keys(states), desired.Key.Compare) {
		all = append(all, wordOf(states[k]))
	}
	return all
}

func (a said) of(k desired.Key) *word {
	if i, ok := a.find(k); ok {
		return a[i]
	}
	return nil
}

func (a said) find(k desired.Key) (int, bool) {
	return slices.BinarySearchFunc(a, k, func(w *word, k desired.Key) int { return w.Key.Compare(k) })
}

// with is a with what was removed, and then what was said, last word last.
func (a said) with(states []report.State, removed []desired.Key) said {
	changed := make(map[desired.Key]*word, len(states)+len(removed))
	for _, k := range removed {
		changed[k] = nil
	}
	for _, s := range states {
		changed[s.Key] = wordOf(s)
	}
	next := make(said, 0, len(a)+len(states))
	from := 0
	for _, k := range slices.SortedFunc(maps.Keys(changed), desired.Key.Compare) {
		to, had := a.find(k)
		next = append(next, a[from:to]...)
		if w := changed[k]; w != nil {
			next = append(next, w)
		}
		if from = to; had {
			from++
		}
	}
	return append(next, a[from:]...)
}

func (a said) digest() desired.Digest {
	sum := desired.NewSum()
	for _, w := range a {
		sum.Add(w.Key, w.digest)
	}
	return sum.Digest()
}

// firstKey compares the first keys; a list that is at its end comes last.
func firstKey(a, b said) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	case a[0] == b[0]:
		return 0
	}
	return a[0].Key.Compare(b[0].Key)
}
