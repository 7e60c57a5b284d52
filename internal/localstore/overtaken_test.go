package localstore_test

import (
	"context"
	"errors"
	"testing"

	"atoll.dev/atoll/internal/localstore"
	"atoll.dev/atoll/internal/wire"
)

// TestAnAgentThatWasOvertakenCommitsNothing: it was halted with a save in hand
// while another agent took over and stored something newer.
func TestAnAgentThatWasOvertakenCommitsNothing(t *testing.T) {
	r := newRoom(t)
	seen := func(term uint64) localstore.Snapshot {
		return localstore.Snapshot{Seen: wire.Stamp{Incarnation: "hub", Term: term}}
	}
	old := r.open()
	r.load(old)
	r.save(old, seen(1))
	successor := r.open()
	r.load(successor)
	r.save(successor, seen(2))

	overtaken := errors.New("another acts")
	answer := overtaken
	old.Guard(func(context.Context) error { return answer })
	if err := old.Save(t.Context(), seen(3)); !errors.Is(err, overtaken) {
		t.Errorf("the save gave %v", err)
	}
	if got := r.load(r.open()).Seen.Term; got != 2 {
		t.Errorf("the store has term %d, not the successor's", got)
	}
	answer = nil // it was a person who touched the Secret
	r.save(old, seen(3))
	if got := r.load(r.open()).Seen.Term; got != 3 {
		t.Errorf("the store has term %d; one who still acts may write", got)
	}
}
