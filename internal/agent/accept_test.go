package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/wire"
)

func key(app string) desired.Key { return desired.Key{Project: "demo", Application: app} }

func rootOf(t interface{ Fatal(...any) }, entries ...desired.Entry) desired.Root {
	root, err := desired.NewRoot(entries)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func drawRoot(t *rapid.T, label string) desired.Root {
	var entries []desired.Entry
	for _, app := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.ID[string]).Draw(t, label) {
		e := desired.Entry{Key: key(app), UID: rapid.SampledFrom([]string{"u", "v"}).Draw(t, "uid")}
		if e.Hold = rapid.IntRange(0, 4).Draw(t, "hold") == 0 && label != "have"; !e.Hold {
			e.Generation = rapid.Int64Range(1, 3).Draw(t, "generation")
			e.Withdrawn = rapid.IntRange(0, 4).Draw(t, "withdrawn") == 0
		}
		entries = append(entries, e)
	}
	return rootOf(t, entries...)
}

var (
	first  = wire.Stamp{Incarnation: "first", Term: 5}
	second = wire.Stamp{Incarnation: "second", Term: 1}
)

func TestAHubOfAnotherHistoryTakesNothingUntilAPersonAccepts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, announced := drawRoot(t, "have"), drawRoot(t, "announced")
		v := judge(have, announced, first, second, "")
		for _, old := range have.Entries {
			now, ok := v.Effective.Get(old.Key)
			switch {
			case !ok:
				t.Fatalf("%s was lost", old.Key)
			case now.UID != old.UID || now.Generation < old.Generation || now.Withdrawn && !old.Withdrawn || now.Hold:
				t.Fatalf("%s was lowered from %+v to %+v", old.Key, old, now)
			}
			want, still := announced.Get(old.Key)
			if follows := still && (want.Hold || now.Digest() == want.Digest()); follows == (v.Held[old.Key] != "") {
				t.Fatalf("%s: announced %+v, enforced %+v, held %q", old.Key, want, now, v.Held[old.Key])
			}
		}
		if v.Follow != (len(v.Held) == 0) {
			t.Fatalf("follow %v with %d held", v.Follow, len(v.Held))
		}
		// Told again, it stays so; a person's word ends it.
		if again := judge(v.Effective, announced, first, second, ""); again.Effective.Digest() != v.Effective.Digest() {
			t.Fatal("hearing it again changes what is enforced")
		}
		accepted := judge(v.Effective, announced, first, second, second.Incarnation)
		if !accepted.Follow || len(accepted.Held) > 0 {
			t.Fatalf("accepted, and yet held: %v", accepted.Held)
		}
		obeysWhole(t, v.Effective, announced, accepted)
		if other := judge(v.Effective, announced, first, second, "third"); other.Follow != v.Follow {
			t.Fatal("a word for another history counted")
		}
	})
}

func TestAHubOfTheSameHistoryIsObeyedWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, announced := drawRoot(t, "have"), drawRoot(t, "announced")
		seen := rapid.SampledFrom([]wire.Stamp{first, {}}).Draw(t, "seen")
		v := judge(have, announced, seen, first, "")
		if !v.Follow || len(v.Held) > 0 {
			t.Fatalf("held %v", v.Held)
		}
		obeysWhole(t, have, announced, v)
	})
}

// obeysWhole: what is enforced is what is announced, and for a hold what was there.
func obeysWhole(t *rapid.T, have, announced desired.Root, v verdict) {
	for _, e := range v.Effective.Entries {
		want, ok := announced.Get(e.Key)
		if want.Hold {
			want, ok = have.Get(e.Key)
		}
		if !ok || want.Digest() != e.Digest() {
			t.Fatalf("enforced %+v, wanted %+v (%v)", e, want, ok)
		}
	}
	for _, want := range announced.Entries {
		_, got := v.Effective.Get(want.Key)
		if _, had := have.Get(want.Key); got != (had || !want.Hold) {
			t.Fatalf("%s announced (hold %v, had %v) is enforced: %v", want.Key, want.Hold, had, got)
		}
	}
}

func TestWhatIsHeldSaysSoFirstUnderTheDigestTheHubKnows(t *testing.T) {
	mine := desired.Entry{Key: key("a"), UID: "u", Generation: 2}
	orphan := desired.Entry{Key: key("b"), UID: "u", Generation: 1}
	kept := desired.Entry{Key: key("c"), UID: "u", Generation: 1}
	older := mine
	older.Generation = 1
	hold := desired.Entry{Key: key("c"), UID: "u", Hold: true}
	announced := rootOf(t, older, hold)
	v := judge(rootOf(t, mine, orphan, kept), announced, first, second, "")
	well := func(e desired.Entry) report.State {
		return report.State{Key: e.Key, Entry: e.Digest(), Sync: report.InSync, Problems: []report.Problem{{Reason: "Other"}}}
	}
	states := map[desired.Key]report.State{mine.Key: well(mine), orphan.Key: well(orphan), kept.Key: well(kept)}
	got := overlay(states, announced, v)
	for k, want := range map[desired.Key]struct {
		sync  report.Sync
		entry desired.Digest
		first string
	}{
		mine.Key:   {report.Held, older.Digest(), heldReason},
		orphan.Key: {report.Held, orphan.Digest(), heldReason},
		kept.Key:   {report.InSync, hold.Digest(), "Other"},
	} {
		s := got[k]
		if s.Sync != want.sync || s.Entry != want.entry || s.Problems[0].Reason != want.first {
			t.Errorf("%s: %+v, want %+v", k, s, want)
		}
	}
	if diff := cmp.Diff(well(mine), states[mine.Key]); diff != "" {
		t.Errorf("the engine's own state was altered:\n%s", diff)
	}
}
