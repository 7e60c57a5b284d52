package rollout_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

func windowsOf(t testing.TB, list ...v1alpha1.Window) rollout.Windows {
	t.Helper()
	w, err := rollout.CompileWindows(&v1alpha1.Rollout{Windows: list})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func allow(schedule string, d time.Duration, zone string) v1alpha1.Window {
	return v1alpha1.Window{Schedule: schedule, Duration: metav1.Duration{Duration: d}, TimeZone: zone}
}

func deny(schedule string, d time.Duration, zone string) v1alpha1.Window {
	w := allow(schedule, d, zone)
	w.Deny = true
	return w
}

func TestWindowsOpenByTheClocksOfTheirPlace(t *testing.T) {
	const berlin, hour = "Europe/Berlin", time.Hour
	for _, tc := range []struct {
		name    string
		windows []v1alpha1.Window
		at      string
		opens   string // empty: never; the same as at: it is open
	}{
		{"none is always open", nil, "2026-01-02T12:00:00Z", "2026-01-02T12:00:00Z"},
		{"at night on weekdays; this is a Friday noon", []v1alpha1.Window{allow("0 2 * * 1-5", 2*hour, berlin)}, "2026-01-02T12:00:00Z", "2026-01-05T01:00:00Z"},
		{"the minute in which it opens", []v1alpha1.Window{allow("0 2 * * *", hour, "")}, "2026-01-02T02:00:00Z", "2026-01-02T02:00:00Z"},
		{"its last second", []v1alpha1.Window{allow("0 2 * * *", hour, "")}, "2026-01-02T02:59:59Z", "2026-01-02T02:59:59Z"},
		{"the moment at which it closes", []v1alpha1.Window{allow("0 2 * * *", hour, "")}, "2026-01-02T03:00:00Z", "2026-01-03T02:00:00Z"},
		{"over midnight", []v1alpha1.Window{allow("0 23 * * 5", 4*hour, "")}, "2026-01-03T02:00:00Z", "2026-01-03T02:00:00Z"},
		{"a week long", []v1alpha1.Window{allow("0 0 1 * *", 168*hour, "")}, "2026-01-07T23:59:00Z", "2026-01-07T23:59:00Z"},
		{"of the month or of the week, as cron has it", []v1alpha1.Window{allow("0 0 13 * 5", hour, "")}, "2026-01-09T01:00:00Z", "2026-01-13T00:00:00Z"},
		{"clocks go forward from 02:00 to 03:00", []v1alpha1.Window{allow("30 2 * * *", hour, berlin)}, "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"and it closes an hour later", []v1alpha1.Window{allow("30 2 * * *", hour, berlin)}, "2026-03-29T02:00:00Z", "2026-03-30T00:30:00Z"},
		{"clocks go back from 03:00 to 02:00: the first time", []v1alpha1.Window{allow("30 2 * * *", hour, berlin)}, "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z"},
		{"and not the second time", []v1alpha1.Window{allow("30 2 * * *", hour, berlin)}, "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"},
		{"never on weekends", []v1alpha1.Window{deny("0 0 * * 6,0", 24*hour, "")}, "2026-01-03T12:00:00Z", "2026-01-05T00:00:00Z"},
		{"and open else", []v1alpha1.Window{deny("0 0 * * 6,0", 24*hour, "")}, "2026-01-02T12:00:00Z", "2026-01-02T12:00:00Z"},
		{"nights but not at the end of the year", []v1alpha1.Window{allow("0 2 * * *", hour, ""), deny("0 0 20-31 12 *", 24*hour, "")}, "2026-12-19T12:00:00Z", "2027-01-01T02:00:00Z"},
		{"a deny that covers what allows", []v1alpha1.Window{allow("0 2 * * *", hour, ""), deny("0 0 * * *", 24*hour, "")}, "2026-01-02T12:00:00Z", ""},
		{"one that never ends, which a hub must not ponder", []v1alpha1.Window{allow("* * * * *", time.Minute, berlin), deny("* * * * *", 168*hour, berlin)}, "2026-01-02T12:00:00Z", ""},
		{"on a day that does not exist", []v1alpha1.Window{allow("0 0 30 2 *", hour, "")}, "2026-01-02T12:00:00Z", ""},
		{"on a leap day", []v1alpha1.Window{allow("0 0 29 2 *", hour, "")}, "2026-01-02T12:00:00Z", "2028-02-29T00:00:00Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, tc.at)
			if err != nil {
				t.Fatal(err)
			}
			w := windowsOf(t, tc.windows...)
			got := ""
			if opens := w.Opens(at); !opens.IsZero() {
				got = opens.UTC().Format(time.RFC3339)
			}
			if got != tc.opens || w.Open(at) != (tc.opens == tc.at) {
				t.Errorf("open %v, opens %q, want %q", w.Open(at), got, tc.opens)
			}
		})
	}
}

func TestBetweenNowAndTheNextOpeningNothingIsOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := v1alpha1.Rollout{}
		w := drawWindows(t, &rules)
		now := noon.Add(time.Duration(rapid.IntRange(0, 400*24*60).Draw(t, "minutes")) * time.Minute)
		opens := w.Opens(now)
		if opens.IsZero() {
			return
		}
		if !w.Open(opens) {
			t.Fatalf("it says that it opens at %s, and does not", opens)
		}
		for at := now; at.Before(opens); at = at.Add(time.Minute) {
			if w.Open(at) {
				t.Fatalf("it is open at %s, and says that it opens at %s", at, opens)
			}
		}
	})
}

func TestAWindowThatCannotBeReadIsRefused(t *testing.T) {
	for word, w := range map[string]v1alpha1.Window{
		"five fields":   allow("TZ=Europe/Berlin 0 2 * * *", time.Hour, ""),
		"of cron":       allow("@daily", time.Hour, ""),
		"schedule":      allow("0 2 * *", time.Hour, ""),
		"above maximum": allow("0 25 * * *", time.Hour, ""),
		"duration":      allow("0 2 * * *", time.Second, ""),
		"Europe/Berlin": allow("0 2 * * *", time.Hour, "Europe/Berlln"),
		"of a place":    allow("0 2 * * *", time.Hour, "Local"),
	} {
		_, err := rollout.CompileWindows(&v1alpha1.Rollout{Windows: []v1alpha1.Window{w}})
		if err == nil || !strings.Contains(err.Error(), "window 1") || !strings.Contains(err.Error(), word) {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

func FuzzWindow(f *testing.F) {
	f.Add("0 2 * * 1-5", "Europe/Berlin")
	f.Add("*/15 0-23/2 1,15 JAN-DEC sun", "")
	f.Add("TZ=0", "UTC")
	f.Fuzz(func(t *testing.T, schedule, zone string) {
		w, err := rollout.CompileWindows(&v1alpha1.Rollout{Windows: []v1alpha1.Window{allow(schedule, time.Hour, zone)}})
		if err != nil {
			return
		}
		if at := w.Opens(noon); !at.IsZero() && (at.Before(noon) || !w.Open(at)) {
			t.Errorf("%q in %q opens at %s, and does not", schedule, zone, at)
		}
	})
}

func TestOutsideOfItsWindowARolloutBeginsNobodyAndStillTakesBack(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{OnFailure: v1alpha1.Rollback, Waves: []v1alpha1.Wave{{Count: number(1)}, {Count: number(4)}, {Share: "100%"}}}, fleet(5))
	s.windows = windowsOf(t, allow("0 14 * * *", time.Hour, "Europe/Berlin"))
	s.note("from 14:00 to 15:00 in Berlin; there it is 13:00")
	s.step()
	s.after(time.Hour)
	s.note("it opens")
	s.step()
	s.after(time.Hour)
	s.note("it is closed again when the canary is well")
	s.pass("c01")
	s.step()
	s.note("atoll rollout promote begins the wave all the same")
	s.run.Spec.Control.Promoted = 2
	s.step()
	s.after(time.Second)
	s.pass("c02", "c03")
	s.fail("it crashes", "c04")
	s.step()
	s.after(rollout.Confirm)
	s.note("nobody waits for a window to go back")
	s.step()
	s.set(rollout.Member{Connected: true, Passed: true}, "c01", "c02", "c03", "c04")
	s.after(time.Second)
	s.step()
	s.golden("window")
}
