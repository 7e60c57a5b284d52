package wire

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNegotiationNamesTheSideToUpgrade(t *testing.T) {
	for name, c := range map[string]struct {
		hub, agent versions
		want       int
		sentence   string
	}{
		"same":                                {versions{1, 1}, versions{1, 1}, 1, ""},
		"newest in common":                    {versions{2, 6}, versions{4, 5}, 5, ""},
		"a newer agent speaks the hub's":      {versions{1, 4}, versions{2, 6}, 4, ""},
		"three behind is served":              {versions{1, 6}, versions{1, 3}, 3, ""},
		"four behind is not, though it might": {versions{1, 7}, versions{1, 3}, 0, "the agent speaks versions 1 to 3, this hub versions 4 to 7: upgrade the agent"},
		"three ahead is served":               {versions{1, 3}, versions{1, 6}, 3, ""},
		"four ahead is not":                   {versions{1, 3}, versions{1, 7}, 0, "the agent speaks versions 4 to 7, this hub versions 1 to 3: upgrade the hub"},
		"the hub dropped it":                  {versions{5, 6}, versions{4, 4}, 0, "the agent speaks version 4, this hub versions 5 to 6: upgrade the agent"},
		"the agent dropped it":                {versions{4, 4}, versions{5, 6}, 0, "the agent speaks versions 5 to 6, this hub version 4: upgrade the hub"},
		"no range":                            {versions{1, 1}, versions{3, 2}, 0, "the agent's versions 3 to 2 are no range: upgrade the agent"},
		"nothing said":                        {versions{1, 1}, versions{}, 0, "the agent's versions 0 to 0 are no range: upgrade the agent"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.hub.negotiate(c.agent)
			if got != c.want || (err == nil) != (c.sentence == "") {
				t.Fatalf("got %d, %v; want %d", got, err, c.want)
			}
			var skew *SkewError
			if err != nil && (!errors.As(err, &skew) || skew.UpgradeAgent != strings.HasSuffix(c.sentence, "agent")) {
				t.Errorf("%v does not say which side to upgrade", err)
			}
			if err != nil && err.Error() != c.sentence {
				t.Errorf("got  %q\nwant %q", err, c.sentence)
			}
		})
	}
}

func TestThisBuildTalksToItself(t *testing.T) {
	if v, err := Negotiate(MinVersion, Version); err != nil || v != Version {
		t.Errorf("got %d, %v", v, err)
	}
}

func TestNegotiatedVersionsAreSpokenByBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pair := func(label string) versions {
			oldest := rapid.IntRange(1, 12).Draw(t, label)
			return versions{oldest, oldest + rapid.IntRange(0, 6).Draw(t, label+" span")}
		}
		hub, agent := pair("hub"), pair("agent")
		v, err := hub.negotiate(agent)
		if err != nil {
			overlap := min(hub.newest, agent.newest) >= max(hub.oldest, agent.oldest)
			if near := max(hub.newest, agent.newest)-min(hub.newest, agent.newest) <= MaxSkew; overlap && near {
				t.Fatalf("hub %v and agent %v could talk: %v", hub, agent, err)
			}
			return
		}
		for _, side := range []versions{hub, agent} {
			if v < side.oldest || v > side.newest || side.newest-v > MaxSkew {
				t.Fatalf("hub %v and agent %v agreed on %d", hub, agent, v)
			}
		}
	})
}

func TestStampsOfASucceededLeaderAreRefused(t *testing.T) {
	seen := Stamp{Incarnation: "a", Term: 5, Seq: 80}
	for name, c := range map[string]struct {
		s               Stamp
		obeys, succeeds bool
	}{
		"the same term, a new connection": {Stamp{"a", 5, 1}, true, true},
		"a later term":                    {Stamp{"a", 6, 1}, true, true},
		"an earlier term":                 {Stamp{"a", 4, 99}, false, true},
		"another incarnation, any term":   {Stamp{"b", 1, 1}, true, false},
		"no incarnation":                  {Stamp{"", 9, 1}, false, false},
	} {
		err := c.s.Obeys(seen)
		if (err == nil) != c.obeys {
			t.Errorf("%s: Obeys is %v", name, err)
		}
		if got := c.s.Succeeds(seen); got != c.succeeds {
			t.Errorf("%s: Succeeds is %v", name, got)
		}
	}
	var stale *StaleError
	if err := (Stamp{"a", 4, 1}).Obeys(seen); !errors.As(err, &stale) || stale.Seen != seen {
		t.Errorf("got %v, want a *StaleError", err)
	}
	if first := (Stamp{"b", 1, 1}); first.Obeys(Stamp{}) != nil || !first.Succeeds(Stamp{}) {
		t.Error("the first hub an agent meets is not followed")
	}
}
