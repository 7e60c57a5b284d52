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
	for day, first := w.midday(t), w.midday(t.Add(-w.length)); !day.Before(first); day = day.AddDate(0, 0, -1) {
		if start := w.last(day, t); !start.IsZero() {
			if end := start.Add(w.length); end.After(t) {
				return end
			}
			return time.Time{} // those before it closed earlier still
		}
	}
	return time.Time{}
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
		if first := w.first(day, t); !first.IsZero() {
			return first
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

// first is the first opening on a day that is after t; zero when there is none.
// Openings come in the order of the clock, so that hours are passed over as a whole:
// a schedule may name each minute.
func (w window) first(day, t time.Time) time.Time {
	for hour := range w.hours(day) {
		if !w.at(day, hour, 59).After(t) {
			continue
		}
		for minute := range 60 {
			if w.schedule.Minute&(1<<minute) == 0 {
				continue
			}
			if at := w.at(day, hour, minute); at.After(t) {
				return at
			}
		}
	}
	return time.Time{}
}

// last is the last opening on a day that is not after t; zero when there is none.
func (w window) last(day, t time.Time) (last time.Time) {
	for hour := range w.hours(day) {
		if w.at(day, hour, 0).After(t) {
			break
		}
		for minute := 59; minute >= 0; minute-- {
			if w.schedule.Minute&(1<<minute) == 0 {
				continue
			}
			if at := w.at(day, hour, minute); !at.After(t) {
				last = at
				break
			}
		}
	}
	return last
}

// hours are those of the openings on a day.
func (w window) hours(day time.Time) iter.Seq[int] {
	return func(yield func(int) bool) {
		if !w.on(day) {
			return
		}
		for hour := range 24 {
			if w.schedule.Hour&(1<<hour) != 0 && !yield(hour) {
				return
			}
		}
	}
}

// at is when the clocks of the place first show a time of a day.
func (w window) at(day time.Time, hour, minute int) time.Time {
	return instant(time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, w.zone), hour, minute)
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
