package component

import (
	"runtime/debug"
	"time"
)

// A server's start leaves half again as much garbage as it keeps. The runtime
// would hold on to that for want of pressure; with five clusters on a laptop
// the pressure is on everything else. An idle API server makes 16 MB of garbage
// a minute, and to collect it then takes a tenth of a second.
const (
	firstTrim = 15 * time.Second
	nextTrim  = time.Minute
)

// trimMemory gives back to the system what the process no longer uses.
func trimMemory() {
	for wait := firstTrim; ; wait = nextTrim {
		time.Sleep(wait)
		debug.FreeOSMemory()
	}
}
