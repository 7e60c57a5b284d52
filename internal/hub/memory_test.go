package hub

import "testing"

func TestAHeapMayGrowByWhatItsSizeIsWorth(t *testing.T) {
	for live, want := range map[uint64]int{0: 50, 40: 50, 100: 50, 120: 66, 150: 83, 200: 100, 300: 100, 400: 75, 600: 50, 2000: 50} {
		if got := allowance(live << 20); got != want {
			t.Errorf("%d MB may grow by %d %%, want %d", live, got, want)
		}
	}
}
