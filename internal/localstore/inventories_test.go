package localstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/localstore"
)

func saveInventories(t *testing.T, s *localstore.Store, changed map[desired.Key][]byte) {
	t.Helper()
	if err := s.SaveInventories(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
}

func inventories(t *testing.T, s *localstore.Store) map[desired.Key][]byte {
	t.Helper()
	got, err := s.LoadInventories(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestInventoriesAreKeptBesideTheSnapshot(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	want := map[desired.Key][]byte{}
	for i := range 100 {
		want[key(fmt.Sprint("app-", i))] = fmt.Appendf(nil, "inventory %d", i)
	}
	saveInventories(t, s, want)
	snapshot := snapshotOf(t, 1, []byte("a"))
	r.save(s, snapshot)
	saveInventories(t, s, map[desired.Key][]byte{key("app-7"): []byte("changed"), key("app-8"): nil})
	want[key("app-7")] = []byte("changed")
	delete(want, key("app-8"))

	restarted := r.open()
	same(t, r.load(restarted), snapshot)
	if diff := cmp.Diff(want, inventories(t, restarted)); diff != "" {
		t.Errorf("inventories (-want +got):\n%s", diff)
	}
	if n := len(r.chunks()); n > 16+2+2+2 {
		t.Errorf("a hundred applications take %d Secrets", n)
	}
}

func TestAForgottenInventoryDoesNotComeBackFromTheListBefore(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	saveInventories(t, s, map[desired.Key][]byte{key("gone"): []byte("x")})
	saveInventories(t, s, map[desired.Key][]byte{key("gone"): nil})
	if got := inventories(t, r.open()); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

func TestALostInventoryStepsBack(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	saveInventories(t, s, map[desired.Key][]byte{key("a"): []byte("before")})
	chunks := r.added(func() { saveInventories(t, s, map[desired.Key][]byte{key("a"): []byte("after")}) })
	r.damage(chunks[0])
	restarted := r.open()
	if got := inventories(t, restarted); string(got[key("a")]) != "before" {
		t.Errorf("got %q", got)
	}
}

func TestCommitsOfInventoriesAreASecondApart(t *testing.T) {
	r := newRoom(t)
	s := r.open()
	began := time.Now()
	for i := range 3 {
		saveInventories(t, s, map[desired.Key][]byte{key("a"): {byte(i)}})
	}
	// A lower bound: it fails only when writes are not held back at all.
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("three commits took %s", took)
	}
}
