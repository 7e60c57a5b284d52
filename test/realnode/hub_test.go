package realnode_test

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/sandbox/hubprocess"
)

// hub is a hub that runs as a process of the machine. Agents in pods reach it
// at the address that the machine has for them.
type hub struct {
	admin
	process *hubprocess.Hub
	runs    bool
}

func (b *bed) hub() *hub {
	b.t.Helper()
	addresses, err := hubprocess.FreePorts(2)
	if err != nil {
		b.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addresses[1])
	if err != nil {
		b.t.Fatal(err)
	}
	dir := b.t.TempDir()
	h := &hub{admin: admin{b, b.program(), filepath.Join(dir, "data", "admin.kubeconfig")}}
	b.t.Cleanup(func() {
		h.kill()
		if log, err := os.ReadFile(filepath.Join(dir, "hub.log")); err == nil && b.t.Failed() {
			b.t.Logf("the hub's log ends:\n%s", log[max(0, len(log)-4000):])
		}
	})
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	h.process, err = hubprocess.Start(ctx, h.program, dir, "--heartbeat", "500ms", "--listen", addresses[0], "--agent-listen", addresses[1],
		"--public-address", net.JoinHostPort(b.cluster.State().MachineIP(), port))
	if err != nil {
		b.t.Fatal(err)
	}
	h.runs = true
	return h
}

// start returns when the hub answers again.
func (h *hub) start() {
	h.b.t.Helper()
	ctx, cancel := context.WithTimeout(h.b.t.Context(), patience)
	defer cancel()
	if err := h.process.Start(ctx); err != nil {
		h.b.t.Fatal(err)
	}
	h.runs = true
}

// kill ends the hub as a power cut would.
func (h *hub) kill() {
	if h.runs {
		h.process.Kill()
		h.runs = false
	}
}

// member is the cluster as the hub has it.
func (h *hub) member() *v1alpha1.Cluster {
	h.b.t.Helper()
	found := &v1alpha1.Cluster{}
	if err := h.process.Client.Get(h.b.t.Context(), client.ObjectKey{Name: h.b.cluster.Name()}, found); err != nil {
		h.b.t.Fatal(err)
	}
	return found
}
