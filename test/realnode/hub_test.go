package realnode_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// hub is a hub that runs as a process of the machine. Agents in pods reach it
// at the address that the machine has for them.
type hub struct {
	admin
	dir     string
	args    []string
	ended   chan struct{}
	process *os.Process
}

func (b *bed) hub() *hub {
	b.t.Helper()
	program := b.program()
	api, agents := freePort(b.t), freePort(b.t)
	dir := b.t.TempDir()
	h := &hub{admin: admin{b, program, filepath.Join(dir, "data", "admin.kubeconfig")}, dir: dir}
	h.args = []string{
		"hub", "--data-dir", filepath.Join(h.dir, "data"), "--heartbeat", "500ms",
		"--listen", net.JoinHostPort("127.0.0.1", api), "--agent-listen", net.JoinHostPort("127.0.0.1", agents),
		"--public-address", net.JoinHostPort(b.cluster.State().MachineIP(), agents),
	}
	b.t.Cleanup(h.kill)
	b.t.Cleanup(func() {
		if log, err := os.ReadFile(h.log()); err == nil && b.t.Failed() {
			b.t.Logf("the hub's log ends:\n%s", log[max(0, len(log)-4000):])
		}
	})
	h.start()
	return h
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (h *hub) log() string { return filepath.Join(h.dir, "hub.log") }

// start returns when the hub answers.
func (h *hub) start() {
	h.b.t.Helper()
	log, err := os.OpenFile(h.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		h.b.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(h.program, h.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	h.ended = make(chan struct{})
	go func() {
		// The signal comes with the death of the thread that started the hub.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		close(h.ended)
	}()
	if err := <-started; err != nil {
		h.b.t.Fatal(err)
	}
	h.process = cmd.Process
	h.b.eventually("the hub answers", func(ctx context.Context) error {
		_, err := h.run(ctx, "", "status")
		return err
	})
}

// kill ends the hub as a power cut would.
func (h *hub) kill() {
	if h.process != nil {
		_ = h.process.Kill() // it may have ended
		<-h.ended
		h.process = nil
	}
}
