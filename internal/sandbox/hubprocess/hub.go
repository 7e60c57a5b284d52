// Package hubprocess runs `atoll hub` as a process of its own, which can be
// killed and started again over what it stored. What is done with the hub is its
// user's.
package hubprocess

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

// Hub is the hub's process and the connections to it.
type Hub struct {
	program, dir string
	args         []string
	cmd          *exec.Cmd
	ended        chan error

	Config *rest.Config
	Client client.WithWatch
	Fleet  *fleet.Client
}

// Start runs `atoll hub` of program in dir and waits until it is ready.
func Start(ctx context.Context, program, dir string, args ...string) (*Hub, error) {
	h := &Hub{program: program, dir: dir, args: args}
	return h, h.Start(ctx)
}

// Start runs the hub, anew if it ran before, on the addresses that it had.
func (h *Hub) Start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(h.dir, "hub.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the hub's log: %w", err)
	}
	h.cmd = exec.Command(h.program, append([]string{"hub", "--data-dir", filepath.Join(h.dir, "data")}, h.args...)...)
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	words, err := h.cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("start the hub: %w", err)
	}
	if err := h.cmd.Start(); err != nil {
		return fmt.Errorf("start the hub: %w", err)
	}
	ready, ended := make(chan struct{}), make(chan error, 1)
	h.ended = ended
	go func() {
		defer log.Close()
		scanner := bufio.NewScanner(io.TeeReader(words, log))
		for told := false; scanner.Scan(); {
			if !told && strings.HasPrefix(scanner.Text(), "hub ready") {
				told = true
				close(ready)
			}
		}
		ended <- h.cmd.Wait()
	}()
	select {
	case <-ready:
		return h.connect()
	case err := <-ended:
		return fmt.Errorf("the hub ended before it was ready: %w; its log is %s", errors.Join(err, errors.New("no reason given")), filepath.Join(h.dir, "hub.log"))
	case <-ctx.Done():
		h.Kill()
		return ctx.Err()
	}
}

func (h *Hub) connect() error {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(h.dir, "data", "admin.kubeconfig"))
	if err != nil {
		return fmt.Errorf("read the hub's kubeconfig: %w", err)
	}
	cfg.QPS = -1
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	if h.Client, err = client.NewWithWatch(cfg, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	if h.Fleet, err = fleet.NewClient(cfg); err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	h.Config = cfg
	return nil
}

// Kill ends the hub at once, as a crash would.
func (h *Hub) Kill() {
	_ = h.cmd.Process.Kill() // it may have ended
	<-h.ended
}

// Stop lets the hub end in order, and ends it when it does not.
func (h *Hub) Stop() {
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.ended:
	case <-time.After(20 * time.Second):
		h.Kill()
	}
}

// PID is that of the process which runs now.
func (h *Hub) PID() int { return h.cmd.Process.Pid }

// FreePorts are addresses on which nobody listens now, below the range that
// outgoing connections take theirs from and apart from those of sandbox clusters.
// They are chosen at random, so that two who look at once hardly find the same.
func FreePorts(n int) ([]string, error) {
	const lowest, count = 10000, 5000
	var found []string
	for _, offset := range rand.Perm(count) {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+offset))
		if err != nil {
			continue
		}
		_ = l.Close() // it was only tried
		if found = append(found, l.Addr().String()); len(found) == n {
			return found, nil
		}
	}
	return nil, fmt.Errorf("no %d ports are free between %d and %d", n, lowest, lowest+count)
}
