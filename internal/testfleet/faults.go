package testfleet

import (
	"context"

	"atoll.dev/atoll/internal/sandbox"
)

// Inject puts a fault in force on the member's cluster, which is healed with
// the test.
func (m *Member) Inject(f sandbox.Fault) {
	m.t.Helper()
	if err := m.cluster.Inject(m.t.Context(), f); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := m.cluster.Heal(context.Background()); err != nil {
			m.t.Error(err)
		}
	})
}

// Partition cuts the member off from its hub, in both directions and without a
// word to either side.
func (m *Member) Partition() {
	m.t.Helper()
	m.Inject(sandbox.Fault{Kind: sandbox.Partitioned})
}

// Heal ends what is wrong with the member's network.
func (m *Member) Heal() {
	m.t.Helper()
	if err := m.cluster.Heal(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}
