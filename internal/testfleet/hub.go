package testfleet

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/fleet"
)

const killSignal = syscall.SIGKILL

func discard() logr.Logger { return logr.Discard() }

// hubProcess is the hub's child process and how it is reached.
type hubProcess struct {
	child
	store store // nil when it stores in itself
	// registry is nil when content lies in a directory.
	registry *contentRegistry
	flags    []string // beside its own
	// Dir is where everything of the hub and its store lies, DataDir the hub's own.
	Dir, DataDir string
	// API, Agents and Hooks are host:port.
	API, Agents, Hooks string
	heartbeat          time.Duration
	// door is nil unless another hub may take over.
	door   *door
	config *rest.Config
	client client.WithWatch
	fleet  *fleet.Client
}

// Hub is the hub as one test sees it.
type Hub struct {
	*hubProcess
	t testing.TB
}

func newHubProcess(dir string, o Options) (*hubProcess, error) {
	store, err := newStore(dir)
	if err != nil {
		return nil, err
	}
	registry, err := newContentRegistry(dir)
	if err != nil {
		return nil, err
	}
	h := &hubProcess{store: store, registry: registry, flags: o.HubFlags, Dir: dir, heartbeat: cmp.Or(o.Heartbeat, 500*time.Millisecond)}
	if o.Replicas {
		if h.door, err = newDoor(); err != nil {
			return nil, err
		}
	}
	return h, h.prepare("data")
}

// prepare names the hub's files and flags, and the ports that it will have.
func (h *hubProcess) prepare(name string) error {
	path, err := Program("atoll")
	if err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	h.DataDir = filepath.Join(h.Dir, name)
	h.API, h.Agents, h.Hooks = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1]), fmt.Sprintf("127.0.0.1:%d", ports[2])
	h.child = child{
		name: "the hub",
		path: path,
		log:  filepath.Join(h.Dir, strings.Replace(name, "data", "hub", 1)+".log"),
		args: []string{"hub", "--data-dir", h.DataDir, "--listen", h.API, "--agent-listen", h.Agents, "--heartbeat", h.heartbeat.String(),
			"--source-allow", "127.0.0.0/8", "--hook-listen", h.Hooks},
	}
	h.args = append(h.args, h.flags...)
	if h.store != nil {
		h.args = append(h.args, h.store.flags()...)
	}
	if h.registry != nil {
		h.args = append(h.args, h.registry.flags...)
	}
	if h.door != nil {
		h.args = append(h.args, "--public-address", h.door.address())
	}
	return nil
}

// freePorts lie below the kernel's ephemeral range, so that no outgoing
// connection takes one while the hub is down.
func freePorts(n int) ([]int, error) {
	var ports []int
	for tries := 0; tries < 1000 && len(ports) < n; tries++ {
		port := 15000 + rand.IntN(5000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close()
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, errors.New("find free ports: none left between 15000 and 20000")
	}
	return ports, nil
}

// begin starts the hub and waits until it answers.
func (h *hubProcess) begin(ctx context.Context) error {
	if h.store != nil {
		if err := h.store.begin(ctx); err != nil {
			return err
		}
	}
	if err := h.start(); err != nil {
		return err
	}
	if h.door != nil {
		h.door.leadTo(h.Agents)
	}
	last := errors.New("never asked")
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		if !h.alive() {
			return false, fmt.Errorf("the hub ended:\n%s", h.lastWords(20))
		}
		last = h.answers(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the hub: %w; last: %w", err, last)
	}
	return nil
}

func (h *hubProcess) answers(ctx context.Context) error {
	if h.fleet == nil {
		if err := h.connect(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := h.fleet.Overview(ctx)
	return err
}

// Kubeconfig is the path of the admin's kubeconfig.
func (h *hubProcess) Kubeconfig() string {
	if h.store != nil && h.store.kubeconfig() != "" {
		return h.store.kubeconfig()
	}
	return filepath.Join(h.DataDir, "admin.kubeconfig")
}

// LogPath is the file of the hub's words.
func (h *hubProcess) LogPath() string { return h.log }

// PID is the process id, 0 when the hub does not run.
func (h *hubProcess) PID() int { return h.pid() }

func (h *hubProcess) connect() error {
	if _, err := os.Stat(h.Kubeconfig()); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", h.Kubeconfig())
	if err != nil {
		return err
	}
	cfg.QPS = -1
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	f, err := fleet.NewClient(cfg)
	if err != nil {
		return err
	}
	h.config, h.client, h.fleet = cfg, c, f
	return nil
}

// Client is the hub's API as its admin.
func (h *Hub) Client() client.WithWatch { return h.client }

// Config is a fresh configuration of the hub's admin.
func (h *Hub) Config() *rest.Config { return rest.CopyConfig(h.config) }

// Fleet is the fleet API as the hub's admin.
func (h *Hub) Fleet() *fleet.Client { return h.fleet }

// Namespace is where the hub keeps its own.
func (h *Hub) Namespace() string {
	h.t.Helper()
	o, err := h.fleet.Overview(h.t.Context())
	h.must(err)
	return o.Hub.Namespace
}

// Kill ends the hub as a power cut would.
func (h *Hub) Kill() { h.t.Helper(); h.must(h.end(syscall.SIGKILL)) }

// Stop asks the hub to end, and waits for it.
func (h *Hub) Stop() { h.t.Helper(); h.must(h.end(syscall.SIGTERM)) }

// Start returns when the hub answers; a hub that runs is left alone.
func (h *Hub) Start() { h.t.Helper(); h.must(h.begin(h.t.Context())) }

// Rebuild starts a hub on an empty directory with the keys of the one that was
// killed, at its address.
func (h *Hub) Rebuild(keys string) {
	h.t.Helper()
	h.args = append(append([]string{"hub", "rebuild"}, h.args[1:]...), "--keys", keys)
	h.Start()
}

// Restart is Kill and Start.
func (h *Hub) Restart() { h.t.Helper(); h.Kill(); h.Start() }

func (h *Hub) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// Result is what a command printed and how it ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// String is for failure messages.
func (r Result) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", r.Code, r.Stdout, r.Stderr)
}

// CLI runs atoll as the hub's admin.
func (h *Hub) CLI(args ...string) Result {
	h.t.Helper()
	return h.CLIWith("", args...)
}

// CLIWith runs atoll with something on its standard input.
func (h *Hub) CLIWith(stdin string, args ...string) Result {
	h.t.Helper()
	r, err := h.run(h.t.Context(), stdin, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// MustCLI is CLI for commands that must succeed; it returns their output.
func (h *Hub) MustCLI(args ...string) string {
	h.t.Helper()
	r := h.CLI(args...)
	if r.Code != 0 {
		h.t.Fatalf("atoll %s: %s", strings.Join(args, " "), r)
	}
	return r.Stdout
}

// run fails only when the command could not be run to its end.
func (h *hubProcess) run(ctx context.Context, stdin string, args ...string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.path, args...)
	cmd.Env = append(os.Environ(), "ATOLL_KUBECONFIG="+h.Kubeconfig(), "NO_COLOR=1")
	var out, words bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &words
	err := cmd.Run()
	exit := (*exec.ExitError)(nil)
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return Result{}, fmt.Errorf("atoll %s: %w\n%s", strings.Join(args, " "), err, words.String())
	}
	return Result{Stdout: out.String(), Stderr: words.String(), Code: cmd.ProcessState.ExitCode()}, nil
}
