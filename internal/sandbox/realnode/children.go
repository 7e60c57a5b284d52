package realnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// children are the programs of a node. Process 1 inherits whatever loses its
// parent, so it buries all, and knows its own among them.
type children struct{ programs map[int]*program }

// program is one of the node's own.
type program struct {
	name      string
	arguments []string
	started   time.Time
	// failures are those in a row that came at once.
	failures int
}

// A program that ends is started again, as every node's init does: a kube-proxy
// that finds its node unregistered for half a minute ends, for one. One that
// ends at once again and again will not come right.
const (
	atOnce      = 10 * time.Second
	mayFail     = 5
	beforeAgain = time.Second
)

func newChildren() *children { return &children{programs: map[int]*program{}} }

// environment is the same for all: their parts first, then Debian's.
func environment() []string {
	env := []string{"PATH=" + programs + ":/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/var/tmp"}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name == "GOGC" {
			env = append(env, v)
		}
	}
	return env
}

// start starts a program; it must be called on the thread of the node's network.
func (c *children) start(p *program) error {
	log, err := os.OpenFile(logFile(p.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(programs, p.name), p.arguments...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, environment()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.started = time.Now()
	c.programs[cmd.Process.Pid] = p
	return cmd.Process.Release()
}

func logFile(name string) string { return filepath.Join(inside, "logs", name+".log") }

// tend buries the dead and starts the node's own again, until one of them fails
// for good. It must be called on the thread of the node's network.
func (c *children) tend() error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the node's programs: %w", err)
		}
		// Those that End killed are buried here too.
		p := c.programs[pid]
		if p == nil || ending.Load() {
			continue
		}
		delete(c.programs, pid)
		if p.failures++; time.Since(p.started) > atOnce {
			p.failures = 1
		}
		if p.failures == mayFail {
			return fmt.Errorf("%s ended %d times: %s (log: %s)", p.name, p.failures, howItEnded(status), filepath.Base(logFile(p.name)))
		}
		fmt.Fprintf(os.Stderr, "%s ended: %s; starting it again\n", p.name, howItEnded(status))
		time.Sleep(beforeAgain)
		if err := c.start(p); err != nil {
			return err
		}
	}
}

func howItEnded(status unix.WaitStatus) string {
	if status.Signaled() {
		return status.Signal().String()
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}

// Socket is containerd's, as the node sees it.
const Socket = "/run/containerd/containerd.sock"

// containerdTimeout is far beyond the second that it takes.
const containerdTimeout = time.Minute

// containerd returns when containerd runs and has the pause image.
func (c *children) containerd(config Config) error {
	if err := c.start(&program{name: "containerd", arguments: []string{"--config", configs("containerd.toml")}}); err != nil {
		return err
	}
	for deadline := time.Now().Add(containerdTimeout); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("unix", Socket)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("containerd does not answer: %w", err)
		}
	}
	archive, err := os.Open(filepath.Join(inside, config.PauseArchive))
	if err != nil {
		return err
	}
	defer archive.Close()
	cmd := ImportCommand(context.Background(), programs, Socket)
	cmd.Stdin, cmd.Env = archive, environment()
	return said(cmd)
}

// ImportCommand reads an OCI archive on its standard input and makes its image
// one that the kubelet of the containerd at the socket finds.
func ImportCommand(ctx context.Context, programs, socket string) *exec.Cmd {
	return exec.CommandContext(ctx, filepath.Join(programs, "ctr"), "--address", socket, "--namespace", "k8s.io", "images", "import", "-")
}
