package traffic

import "runtime"

type footprint struct{ bytes, goroutines int64 }

// measure is what the process keeps: heap and stacks.
func measure() footprint {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return footprint{int64(stats.HeapAlloc + stats.StackInuse), int64(runtime.NumGoroutine())}
}
