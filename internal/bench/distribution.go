package bench

import (
	"slices"
	"time"
)

// Distribution describes a sample of durations, in milliseconds.
type Distribution struct {
	Samples int     `json:"samples"`
	P50     float64 `json:"p50"`
	P90     float64 `json:"p90"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
}

// Distributed sorts a copy of what was measured. A percentile is the smallest
// duration that at least so many percent of the sample do not exceed
// (nearest rank), so each is one that did happen.
func Distributed(sample []time.Duration) Distribution {
	if len(sample) == 0 {
		return Distribution{}
	}
	sorted := slices.Sorted(slices.Values(sample))
	rank := func(percent int) float64 {
		return milliseconds(sorted[(len(sorted)*percent+99)/100-1])
	}
	return Distribution{Samples: len(sorted), P50: rank(50), P90: rank(90), P99: rank(99), Max: rank(100)}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Median is the middle value, the lower one of two.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(values))[(len(values)-1)/2]
}
