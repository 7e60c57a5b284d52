// Package clock is the time by which hubs and agents judge certificates, tokens,
// leases and ages. It is the machine's, unless a test or the sandbox says by
// how much this process's clock is wrong. Deadlines and timers, which measure
// and do not judge, are left to package time.
package clock

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	kclock "k8s.io/utils/clock"
)

// Variable names a file that holds by how much the clock of this process is
// ahead, such as "+10m" or "-90s". It is read again as it changes, and one that
// is empty or missing means not at all. It is for tests: nobody's clock is
// better for it.
const Variable = "ATOLL_CLOCK_SKEW_FILE"

// reread is how old what is known of the file may be.
const reread = 200 * time.Millisecond

// Now is the time by this process's clock.
func Now() time.Time { return process().Now() }

// Wall is the same clock for what wants timers besides, which run at the
// machine's pace.
type Wall struct{ kclock.RealClock }

// Now is the time by this process's clock.
func (Wall) Now() time.Time { return Now() }

// Since is how long ago a time was by this process's clock.
func (Wall) Since(t time.Time) time.Duration { return Now().Sub(t) }

var process = sync.OnceValue(func() *skewed { return &skewed{file: os.Getenv(Variable)} })

// skewed is the machine's clock, with what a file says on top.
type skewed struct {
	file string // "" is none

	mu   sync.Mutex
	read time.Time
	text string
	by   time.Duration
}

func (s *skewed) Now() time.Time {
	now := time.Now()
	if s.file == "" {
		return now
	}
	return now.Add(s.skew(now))
}

func (s *skewed) skew(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.read) < reread {
		return s.by
	}
	s.read = now
	data, _ := os.ReadFile(s.file) // one that is not there says nothing
	text := strings.TrimSpace(string(data))
	if text == s.text {
		return s.by
	}
	by, err := Parse(text)
	if err != nil {
		slog.Warn("the clock's skew is left as it was", "file", s.file, "err", err)
	} else {
		s.by = by
	}
	s.text = text
	return s.by
}

// Parse reads what such a file may hold.
func Parse(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	by, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("a clock's skew is a duration such as +10m or -90s, not %q", text)
	}
	return by, nil
}
