package hub

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The heap of a hub may grow over what lives before it is collected: by half of it
// while that is small, for a hub of ten clusters should be a small program; by as
// much as lives in a large one, whose collections are dear, and by growth at most,
// unless that is less than half.
const (
	small  = 100 << 20
	growth = 300 << 20
)

// allowance is by how much the heap may grow over what lives, in percent: half was
// measured at 7 % more CPU time than Go's 100 and a quarter less memory in use with
// few clusters, and with a thousand more than a third of the hub's time went into
// collecting.
func allowance(live uint64) int {
	if live <= small {
		return 50
	}
	most := live/2 + min(live/2, live-small)
	return int(max(live/2, min(most, growth)) * 100 / live)
}

// spareMemory is for a process that is a hub and nothing else, from when it is
// ready: a heap that is just filling would only be looked through more often.
// Whoever sets GOGC decides otherwise.
func spareMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := 0
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		if next := allowance(liveHeap()); next != percent {
			percent = next
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// liveHeap is what the last collection left, in bytes.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
