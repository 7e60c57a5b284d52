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
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// children are the programs of a node. Process 1 inherits whatever loses its
// parent, so it buries all, and knows its own among them.
type children struct {
	mu    sync.Mutex
	names map[int]string
}

func newChildren() *children { return &children{names: map[int]string{}} }

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
func (c *children) start(name string, arguments ...string) error {
	log, err := os.OpenFile(filepath.Join(inside, "logs", name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	cmd := exec.Command(filepath.Join(programs, name), arguments...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, environment()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.names[cmd.Process.Pid] = name
	return cmd.Process.Release()
}

// wait buries the dead, and returns when one of the node's own programs is
// among them.
func (c *children) wait() error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the node's programs: %w", err)
		}
		c.mu.Lock()
		name, own := c.names[pid]
		c.mu.Unlock()
		if own {
			return fmt.Errorf("%s ended with %d (signal %d); its log is beside this one", name, status.ExitStatus(), status.Signal())
		}
	}
}

// Socket is containerd's, as the node sees it.
const Socket = "/run/containerd/containerd.sock"

// containerdTimeout is far beyond the second that it takes.
const containerdTimeout = time.Minute

// containerd returns when containerd runs and has the pause image.
func (c *children) containerd(config Config) error {
	if err := c.start("containerd", "--config", configs("containerd.toml")); err != nil {
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
	// Nothing else has been started yet whose end would be mistaken for ctr's.
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
