// Package hub wires the hub together: the embedded control plane, the agents'
// port, the controllers and the fleet API. It decides nothing itself.
package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/api/v1alpha1/crds"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/fleet"
	fleetserver "atoll.dev/atoll/internal/server"
)

var metav1CreateOptions = metav1.CreateOptions{}

// Options say where a hub lives and under which names it is reached.
type Options struct {
	DataDir string
	// Listen is the API's host:port, AgentListen the agents' port.
	Listen      string
	AgentListen string
	// PublicAddress is the host:port that agents dial, when it differs from
	// AgentListen; certificates and join commands carry it.
	PublicAddress string
	Heartbeat     time.Duration
	Log           *slog.Logger
	// Verbose takes what the embedded Kubernetes says; nil discards it.
	Verbose io.Writer
}

// Ready tells how a running hub is reached.
type Ready struct {
	API             string
	Agents          string
	AdminKubeconfig string
}

// Run serves until ctx ends. ready is called once, when everything answers.
func Run(ctx context.Context, o Options, ready func(Ready)) error {
	ctrl.SetLogger(logr.FromSlogHandler(quiet{o.Log.Handler()}))
	definitions, err := crds.All()
	if err != nil {
		return err
	}
	late := &lateHandler{}
	var loopback atomic.Pointer[rest.Config]
	api, err := apiserver.Start(ctx, apiserver.Options{
		DataDir:         o.DataDir,
		Listen:          o.Listen,
		PublicAddresses: publicHosts(o.PublicAddress),
		CRDs:            definitions,
		Validators:      []apiserver.Validator{&admit{client: sync.OnceValues(func() (kubernetes.Interface, error) { return kubernetesFor(loopback.Load()) })}},
		APIs:            []apiserver.API{{GroupVersion: fleet.GroupVersion, Resources: fleetserver.Resources(), Handler: late}},
		Log:             o.Verbose,
	})
	if err != nil {
		return err
	}
	cfg := api.LoopbackConfig()
	cfg.QPS = -1 // in process: the API server's own fairness is the limit
	loopback.Store(cfg)
	err = serve(ctx, o, api, cfg, late, ready)
	return errors.Join(err, api.Stop())
}

// serve runs everything that works on the API.
func serve(ctx context.Context, o Options, api *apiserver.Server, cfg *rest.Config, late *lateHandler, ready func(Ready)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	live, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("connect to the hub's own API: %w", err)
	}
	stamp, err := takeTerm(ctx, live)
	if err != nil {
		return err
	}
	refs, err := refKey(o.DataDir)
	if err != nil {
		return err
	}
	mgr, err := manager.New(cfg, manager.Options{
		Scheme:         scheme,
		Metrics:        server.Options{BindAddress: "0"},
		LeaderElection: false,
	})
	if err != nil {
		return fmt.Errorf("prepare the controllers: %w", err)
	}
	h := &hub{
		Options: o, stamp: stamp, live: live, mgr: mgr,
		depot: depot.New(filepath.Join(o.DataDir, "content"), live, refs),
	}
	listener, err := h.assemble()
	if err != nil {
		return err
	}
	late.set(h.fleetAPI())
	var wg sync.WaitGroup
	defer wg.Wait()
	run := func(what string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	run("controllers", mgr.Start)
	run("agents' port", listener.Serve)
	run("direct clusters", h.direct.run)
	run("status pulse", func(ctx context.Context) error { h.statusPulse.run(ctx); return nil })
	run("cluster pulse", func(ctx context.Context) error { h.clusterPulse.run(ctx); return nil })
	run("sweep", h.keepSwept)
	run("intent pulse", func(ctx context.Context) error { h.intentPulse.run(ctx); return nil })
	if err := h.begin(ctx); err != nil {
		cancel(err)
		return err
	}
	ready(Ready{API: api.Address(), Agents: h.address(), AdminKubeconfig: api.AdminKubeconfig()})
	select {
	case <-ctx.Done():
	case <-api.Done():
		cancel(api.Wait())
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(clientscheme.AddToScheme(s), v1alpha1.AddToScheme(s))
}

func publicHosts(address string) []string {
	if address == "" {
		return nil
	}
	return []string{address}
}

// lateHandler answers 503 until the handler behind it exists.
type lateHandler struct{ h atomic.Pointer[http.Handler] }

func (l *lateHandler) set(h http.Handler) { l.h.Store(&h) }

func (l *lateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := l.h.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, "the hub is starting", http.StatusServiceUnavailable)
}

// quiet keeps controller-runtime's chatter out of the hub's log.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }
func (q quiet) WithGroup(name string) slog.Handler       { return quiet{q.Handler.WithGroup(name)} }

// agentNames are the names the agents' port must have a certificate for.
func agentNames(addresses ...string) []string {
	names := []string{"localhost", "127.0.0.1"}
	for _, a := range addresses {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			host = a
		}
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			names = append(names, host)
		}
	}
	return names
}
