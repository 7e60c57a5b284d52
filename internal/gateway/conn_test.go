package gateway

import (
	"testing"
	"time"
)

// TestAnAgentThatCannotTakeTheWholeGetsItEverMoreRarely, and one that asks now and
// then soon.
func TestAnAgentThatCannotTakeTheWholeGetsItEverMoreRarely(t *testing.T) {
	var w wholes
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	sent := 0
	for end := now.Add(time.Hour); now.Before(end); sent++ {
		now = now.Add(w.pause(now) + time.Millisecond)
	}
	if sent < 60 || sent > 75 {
		t.Errorf("%d times in an hour", sent)
	}
	if wait := w.pause(now.Add(time.Hour)); wait != firstWait {
		t.Errorf("after an hour without asking it waits for %s", wait)
	}
}
