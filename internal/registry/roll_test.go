package registry

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// The roll against what it stands for: clusters with one UID each, the last
// that was entered.
func TestTheRollNamesWhoEnrolledLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name, uid := rapid.SampledFrom([]string{"a", "b", "c"}), rapid.SampledFrom([]string{"1", "2", "3", "4"})
		want := map[string]string{}
		before := map[string]string{"a": "1", "b": "2"}
		var r roll
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			c, u := name.Draw(t, "cluster"), uid.Draw(t, "uid")
			if taken, _ := r.find(u, func() (map[string]string, error) { return before, nil }); taken != "" && taken != c {
				continue // it would have been refused
			}
			if want = merged(before, want); rapid.Bool().Draw(t, "enters") {
				r.enter(c, u)
				want[c] = u
			} else if want[c] == u {
				r.strike(c, u)
				delete(want, c)
				delete(before, c)
			}
			for _, u := range []string{"1", "2", "3", "4"} {
				got, err := r.find(u, nil)
				if err != nil || got != holder(want, u) {
					t.Fatalf("UID %s is of %q, %v; enrolled are %v", u, got, err, want)
				}
			}
		}
	})
}

func merged(before, want map[string]string) map[string]string {
	all := maps.Clone(before)
	maps.Copy(all, want)
	return all
}

func holder(all map[string]string, uid string) string {
	for c, u := range all {
		if u == uid {
			return c
		}
	}
	return ""
}

func TestARollThatCannotBeCalledNamesNobody(t *testing.T) {
	var r roll
	r.enter("new", "1")
	away := errors.New("away")
	if _, err := r.find("2", func() (map[string]string, error) { return nil, away }); !errors.Is(err, away) {
		t.Fatalf("it is sure although nobody could be asked: %v", err)
	}
	got, err := r.find("1", func() (map[string]string, error) { return map[string]string{"new": "0", "old": "2"}, nil })
	if err != nil || got != "new" {
		t.Errorf("what was entered meanwhile is %q, %v", got, err)
	}
	if got, _ := r.find("2", nil); got != "old" {
		t.Errorf("who was there before is %q", got)
	}
}

func TestOneNameIsOneTurnAndOthersDoNotWait(t *testing.T) {
	var all turns
	done := all.take("held all the while")
	var wg sync.WaitGroup
	var inside atomic.Int32
	for range 50 {
		wg.Go(func() {
			defer all.take("a")()
			if inside.Add(1) != 1 {
				t.Error("two have the same turn")
			}
			inside.Add(-1)
		})
	}
	wg.Wait()
	done()
	if len(all.held) != 0 {
		t.Errorf("%d names are remembered for nobody", len(all.held))
	}
}
