package simulate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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

// hub is the hub's process and the connections to it.
type hub struct {
	program, dir string
	args         []string
	cmd          *exec.Cmd
	ended        chan error

	config *rest.Config
	client client.WithWatch
	fleet  *fleet.Client
}

// startHub runs `atoll hub` in dir and waits until it is ready.
func startHub(ctx context.Context, program, dir string, args ...string) (*hub, error) {
	h := &hub{program: program, dir: dir, args: args}
	return h, h.start(ctx)
}

// start runs the hub, anew if it ran before, on the addresses that it had.
func (h *hub) start(ctx context.Context) error {
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
		h.kill()
		return ctx.Err()
	}
}

func (h *hub) connect() error {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(h.dir, "data", "admin.kubeconfig"))
	if err != nil {
		return fmt.Errorf("read the hub's kubeconfig: %w", err)
	}
	cfg.QPS = -1
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	if h.client, err = client.NewWithWatch(cfg, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	if h.fleet, err = fleet.NewClient(cfg); err != nil {
		return fmt.Errorf("connect to the hub: %w", err)
	}
	h.config = cfg
	return nil
}

// kill ends the hub at once, as a crash would.
func (h *hub) kill() {
	_ = h.cmd.Process.Kill() // it may have ended
	<-h.ended
}

// stop lets the hub end in order, and ends it when it does not.
func (h *hub) stop() {
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.ended:
	case <-time.After(20 * time.Second):
		h.kill()
	}
}

func (h *hub) pid() int { return h.cmd.Process.Pid }
