package traffic

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What a meter says is what a list of all requests would.
func TestAMeterCountsTheWindowAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m meter
		var all []int64
		now := time.Unix(rapid.Int64Range(1e9, 2e9).Draw(t, "start"), 0)
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "pause")))
			if rapid.Bool().Draw(t, "request") {
				m.add(now)
				all = append(all, now.Unix())
				continue
			}
			var want int64
			for _, at := range all {
				if at < now.Unix() && at >= now.Unix()-windowSeconds {
					want++
				}
			}
			if got := m.until(now); got != want {
				t.Fatalf("%d requests at %v, want %d", got, now, want)
			}
		}
	})
}
