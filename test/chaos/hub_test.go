package chaos_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/sandbox/edge"
	"atoll.dev/atoll/internal/sandbox/hubprocess"
)

// patience bounds every wait; nothing that works comes near it.
const patience = 2 * time.Minute

// lonelyHub is the hub of one lane, which lives through all its seeds.
type lonelyHub struct {
	*hubprocess.Hub
	address string // for agents
	dir     string
	runs    bool
}

// ports are looked for and taken by one lane at a time. Those of a hub stay its
// own while it is dead.
var (
	ports sync.Mutex
	kept  = map[string]bool{}
)

// free are n ports that no hub comes back to; ports is held.
func free(t *testing.T, n int) []string {
	t.Helper()
	found, err := hubprocess.FreePorts(n + len(kept))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(found, func(address string) bool { return kept[address] })[:n]
}

func startHub(t *testing.T, program string) *lonelyHub {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	found := free(t, 2)
	kept[found[0]], kept[found[1]] = true, true
	h := &lonelyHub{address: found[1], dir: t.TempDir()}
	var err error
	// Frequent heartbeats, so that what was lost is noticed soon.
	h.Hub, err = hubprocess.Start(t.Context(), program, h.dir, "--listen", found[0], "--agent-listen", found[1], "--heartbeat", "500ms")
	if err != nil {
		t.Fatal(err)
	}
	h.runs = true
	t.Cleanup(func() {
		if h.runs {
			h.Stop()
		}
	})
	return h
}

func (h *lonelyHub) kill() {
	if h.runs {
		h.Kill()
		h.runs = false
	}
}

func (h *lonelyHub) revive(ctx context.Context) error {
	if h.runs {
		return nil
	}
	// Who looks for free ports opens each for a moment, also one that a hub wants back.
	ports.Lock()
	defer ports.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := h.Start(ctx); err != nil {
		return err
	}
	h.runs = true
	return nil
}

// openLine is the way out of one member, which can be cut.
func openLine(t *testing.T) (*edge.Edge, string) {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	address := free(t, 1)[0]
	// Nobody dials in: the member's API is not on any network.
	e, err := edge.Listen(edge.Addresses{API: "127.0.0.1:0", Target: address, Proxy: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, address
}

// until asks again and again; the last answer tells why it never came true.
func until(t *testing.T, what string, done func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := done(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: never within %s: %v", what, patience, last)
		case <-tick.C:
		}
	}
}
