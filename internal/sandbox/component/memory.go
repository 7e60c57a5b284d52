package component

import (
	"runtime/debug"
	"time"
)

// A server's start leaves half again as much garbage as it keeps. The runtime
// would hold on to that for want of pressure; with five clusters on a laptop
// the pressure is on everything else. An idle API server makes 16 MB of garbage
// a minute, and to collect it then takes a tenth of a second.
//
// To collect is a quarter of the work of starting, so the heap may double then.
// With more than that the objects that stay would lie so far apart that it never
// shrinks again: 18 MB of an API server at 200 percent.
const (
	startPercent = 100
	firstTrim    = 15 * time.Second
	nextTrim     = time.Minute
)

// trimMemory gives back to the system what the process no longer uses.
func trimMemory() {
	percent := debug.SetGCPercent(startPercent)
	time.Sleep(firstTrim)
	debug.SetGCPercent(percent)
	for {
		debug.FreeOSMemory()
		time.Sleep(nextTrim)
	}
}
