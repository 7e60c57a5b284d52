package clock

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTheClockIsWrongByWhatTheFileSaysNow(t *testing.T) {
	s := &skewed{file: filepath.Join(t.TempDir(), "skew")}
	ahead := func() time.Duration {
		s.read = time.Time{} // as if it were long ago
		return time.Until(s.Now()).Round(time.Minute)
	}
	for _, tt := range []struct {
		text string
		want time.Duration
	}{
		{"", 0}, {"+10m", 10 * time.Minute}, {"-2h\n", -2 * time.Hour}, {"ten", -2 * time.Hour}, {"", 0},
	} {
		if tt.text != "" {
			if err := os.WriteFile(s.file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
		} else {
			_ = os.Remove(s.file) // the first time, there is none
		}
		if got := ahead(); got != tt.want {
			t.Errorf("%q: ahead by %s", tt.text, got)
		}
	}
	if time.Until((&skewed{}).Now()).Abs() > time.Minute {
		t.Error("without a file the clock is not the machine's")
	}
}
