package traffic

import (
	"sync"
	"time"

	"atoll.dev/atoll/internal/sandbox/usage"
)

// windowSeconds is how far back a meter remembers, without the second that
// has only begun.
const windowSeconds = int64(usage.Window / time.Second)

// meter counts requests by the second.
type meter struct {
	mu      sync.Mutex
	seconds [windowSeconds + 1]struct{ at, count int64 }
}

func (m *meter) add(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := now.Unix()
	second := &m.seconds[at%int64(len(m.seconds))]
	if second.at != at {
		second.at, second.count = at, 0
	}
	second.count++
}

// until is the count of the whole seconds of the window before a moment.
func (m *meter) until(now time.Time) (count int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, second := range m.seconds {
		if age := now.Unix() - second.at; age > 0 && age <= windowSeconds {
			count += second.count
		}
	}
	return count
}
