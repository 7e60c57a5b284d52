package rollout

import (
	"fmt"
	"iter"
	"strings"
	"time"
	_ "time/tzdata" // a hub's image need not have the zones

	"github.com/robfig/cron/v3"

	"atoll.dev/atoll/api/v1alpha1"
)

// Limits of a window.
const (
	MinWindow = time.Minute
	MaxWindow = 7 * 24 * time.Hour
)

// window opens on a schedule by the clocks of a place. Where these are put
// forward, what would open in the hour that is left out opens when it is over;
// where they are put back, it opens once, the first time.
type window struct {
	schedule *cron.SpecSchedule
	length   time.Duration
	zone     *time.Location
	deny     bool
}

var fiveFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// starBit is how the parser marks a field that is "*".
const starBit = 1 << 63

func compileWindow(w v1alpha1.Window) (window, error) {
	spec := strings.TrimSpace(w.Schedule)
	if strings.Contains(spec, "=") || strings.HasPrefix(spec, "@") {
		return window{}, fmt.Errorf("schedule %q: give the five fields of cron, such as \"0 2 * * 1-5\"; the time zone has a field of its own", w.Schedule)
	}
	parsed, err := fiveFields.Parse(spec)
	if err != nil {
		return window{}, fmt.Errorf("schedule %q: %w", w.Schedule, err)
	}
	if w.Duration.Duration < MinWindow || w.Duration.Duration > MaxWindow {
		return window{}, fmt.Errorf("duration %s: give %s to %s", w.Duration.Duration, MinWindow, MaxWindow)
	}
	if w.TimeZone == "Local" {
		return window{}, fmt.Errorf("timeZone Local: give the name of a place, such as Europe/Berlin")
	}
	zone, err := time.LoadLocation(w.TimeZone)
	if err != nil {
		return window{}, fmt.Errorf("timeZone %q: give a name such as Europe/Berlin: %w", w.TimeZone, err)
	}
	return window{schedule: parsed.(*cron.SpecSchedule), length: w.Duration.Duration, zone: zone, deny: w.Deny}, nil
}

// closes is when the window that is open at t closes; zero when none is.
func (w window) closes(t time.Time) time.Time {
	var latest time.Time
	for day := w.midday(t.Add(-w.length)); !day.After(w.midday(t)); day = day.AddDate(0, 0, 1) {
		for start := range w.openings(day) {
			if end := start.Add(w.length); !start.After(t) && end.After(t) && end.After(latest) {
				latest = end
			}
		}
	}
	return latest
}

// midday is on the day of t in the window's place, at an hour at which no clock is
// put forward or back.
func (w window) midday(t time.Time) time.Time {
	year, month, day := t.In(w.zone).Date()
	return time.Date(year, month, day, 12, 0, 0, 0, w.zone)
}

// horizon is for how many days an opening is looked for: from one 29 February to
// another there may be eight years.
const horizon = 8*366 + 1

// opens is the first opening after t; zero when there is none to come.
func (w window) opens(t time.Time) time.Time {
	day := w.midday(t)
	for range horizon {
		var first time.Time
		for start := range w.openings(day) {
			if start.After(t) && (first.IsZero() || start.Before(first)) {
				first = start
			}
		}
		if !first.IsZero() {
			return first
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

// openings are those on the day of t.
func (w window) openings(t time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		if !w.on(t) {
			return
		}
		year, month, day := t.Date()
		for hour := range 24 {
			if w.schedule.Hour&(1<<hour) == 0 {
				continue
			}
			for minute := range 60 {
				if w.schedule.Minute&(1<<minute) == 0 {
					continue
				}
				if !yield(instant(time.Date(year, month, day, hour, minute, 0, 0, w.zone), hour, minute)) {
					return
				}
			}
		}
	}
}

// on tells that the schedule names the day: cron takes either of the day of the
// month and of the week when both are given.
func (w window) on(t time.Time) bool {
	s := w.schedule
	if s.Month&(1<<uint(t.Month())) == 0 {
		return false
	}
	date, weekday := s.Dom&(1<<uint(t.Day())) != 0, s.Dow&(1<<uint(t.Weekday())) != 0
	if s.Dom&starBit != 0 || s.Dow&starBit != 0 {
		return date && weekday
	}
	return date || weekday
}

// instant is when clocks first show an hour and a minute, of which t is Go's
// reading, or skip it.
func instant(t time.Time, hour, minute int) time.Time {
	start, end := t.ZoneBounds()
	if t.Hour() != hour || t.Minute() != minute {
		if wanted, shown := hour*60+minute, t.Hour()*60+t.Minute(); shown < wanted {
			return end
		}
		return start
	}
	if start.IsZero() {
		return t
	}
	_, before := start.Add(-time.Second).Zone()
	_, now := t.Zone()
	if first := t.Add(-time.Duration(before-now) * time.Second); before > now && first.Before(start) {
		return first
	}
	return t
}
