// Package hub wires the hub together: the embedded control plane, the agents'
// port, the controllers and the fleet API. It decides nothing itself.
package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/api/v1alpha1/crds"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/audit"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/fleet"
	fleetserver "atoll.dev/atoll/internal/server"
	"atoll.dev/atoll/internal/signin"
)

var metav1CreateOptions = metav1.CreateOptions{}

// Options say where a hub lives and under which names it is reached.
type Options struct {
	DataDir string
	// Keys is the directory of the keys, which are never in the store; default pki
	// in DataDir. Content is what all hubs of one store share: a directory, default
	// content in DataDir, or oci://HOST/REPOSITORY.
	Keys    string
	Content string
	// Etcd is an external store; without servers the hub runs its own.
	Etcd apiserver.ExternalEtcd
	// Host is a Kubernetes cluster that serves and stores in the place of the
	// embedded control plane; nil without one.
	Host *apiserver.HostCluster
	// Namespace holds what the hub itself stores; default that of the Host, else
	// atoll-system.
	Namespace string
	// Listen is the API's host:port, AgentListen the agents' port.
	Listen      string
	AgentListen string
	// PublicAddresses are under which the hub is reached from elsewhere: names or
	// addresses, with a port or without. The certificates of both ports carry all
	// of them; agents are told to dial the first, a host:port, or AgentListen if
	// there is none.
	PublicAddresses []string
	// PeerAddress is the host:port at which other hubs of the store reach this
	// one's API; default where it listens.
	PeerAddress string
	Heartbeat   time.Duration
	// Rebuild takes up clusters that the store does not know, from their agents.
	Rebuild bool
	// HookListen is the host:port at which Git hosts tell of pushes; empty for none.
	HookListen string
	// SourceAllow are addresses and networks that projects may have fetched from
	// although they are this machine's own or its network's.
	SourceAllow []string
	// Alertmanagers are base addresses of those that are told what alerts.
	Alertmanagers []string
	// AlertEvery is how often they are told; default push.Every.
	AlertEvery time.Duration
	// AuditDir is where this hub's audit log lies, default audit in DataDir, and
	// AuditFailure what becomes of acts that it cannot take up: "refuse", the
	// default, or "allow".
	AuditDir, AuditFailure string
	// RenderCommand starts a process that renders; default this program with
	// worker.Verb.
	RenderCommand []string
	// SignIn has people sign in with a provider.
	SignIn SignIn
	// Profiles is the loopback host:port of net/http/pprof; empty for none.
	Profiles string
	Log      *slog.Logger
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
func Run(ctx context.Context, o Options, ready func(Ready)) (failed error) {
	ctrl.SetLogger(logr.FromSlogHandler(quiet{o.Log.Handler()}))
	definitions, err := crds.All()
	if err != nil {
		return err
	}
	o.Keys = cmp.Or(o.Keys, filepath.Join(o.DataDir, "pki"))
	if o.Host != nil {
		o.Namespace = o.Host.Namespace
	}
	o.Namespace = cmp.Or(o.Namespace, v1alpha1.SystemNamespace)
	keys, err := openKeys(o.Keys)
	if err != nil {
		return err
	}
	if o.Profiles != "" {
		stop, err := serveProfiles(o.Profiles)
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := apiserver.Free(o.DataDir); err != nil {
		return err
	}
	log, err := o.openAudit()
	if err != nil {
		return err
	}
	defer func() { failed = errors.Join(failed, log.Close()) }()
	s := &start{Options: o, audit: log, keys: keys, late: &lateHandler{}, door: &doorplate{options: o.SignIn, log: o.Log}, ready: ready}
	err = s.startAPI(ctx, apiserver.Options{
		DataDir:      o.DataDir,
		Keys:         o.Keys,
		Fingerprints: keys.fingerprints(),
		Etcd:         o.Etcd,
		// Run by the leader, with the rest of what only one hub may do.
		DeferControllers: true,
		Listen:           o.Listen,
		PublicAddresses:  o.PublicAddresses,
		PeerAddress:      o.PeerAddress,
		CRDs:             definitions,
		Validators:       []apiserver.Validator{&admit{client: s.reviews, namespace: o.Namespace, shared: o.Host != nil}},
		Witness:          &witness{log},
		Guard:            withdrawal,
		APIs:             []apiserver.API{{GroupVersion: fleet.GroupVersion, Resources: fleetserver.Resources(), Handler: s.late}},
		Public:           map[string]http.Handler{signin.Path: s.door},
		SignIn: apiserver.SignIn{File: o.SignIn.File, Taken: s.door.trusted, Refused: func(err error) {
			o.Log.Error("the changed authentication configuration does not count, and the one before does", "error", err)
		}},
		Log: o.Verbose,
	})
	if err != nil {
		return err
	}
	return errors.Join(s.whenLeading(ctx), s.api.Stop())
}

// control is the Kubernetes API that a hub works on: its own, or a host's.
type control interface {
	LoopbackConfig() *rest.Config
	RunControllers(context.Context, *rest.Config) error
	Address() string
	AdminKubeconfig() string
	CACertificate() []byte
	PeerAddress() string
	PeerTransport() http.RoundTripper
	Done() <-chan struct{}
	Wait() error
	Stop() error
}

// start is a hub whose API runs and whose other parts do not yet.
type start struct {
	Options
	api   control
	host  *apiserver.Host // nil unless it is the api
	cfg   *rest.Config
	keys  keys
	late  *lateHandler
	door  *doorplate
	audit *audit.Log
	ready func(Ready)
	live  client.Client
	// self is nobody, and peers nil, unless others may reach the store.
	self  whereabouts
	peers http.RoundTripper
	// kube is there when the API is, which may be asked to admit before.
	kube atomic.Pointer[kubernetes.Clientset]
}

func (s *start) startAPI(ctx context.Context, o apiserver.Options) (err error) {
	if s.Host != nil {
		if s.host, err = apiserver.StartOnHost(ctx, *s.Host, o); err != nil {
			return err
		}
		s.api = s.host
	} else if s.api, err = apiserver.Start(ctx, o); err != nil {
		return err
	}
	if s.host != nil {
		s.door.pointTo(s.host.LoopbackConfig(), s.Host.Kubeconfig == "")
	}
	s.door.open(s.api.CACertificate())
	s.cfg = s.api.LoopbackConfig()
	kube, err := kubernetes.NewForConfig(s.cfg)
	if err != nil {
		return errors.Join(fmt.Errorf("make the hub's own client: %w", err), s.api.Stop())
	}
	s.kube.Store(kube)
	return nil
}

// reviews is the client that asks what people may do.
func (s *start) reviews() (kubernetes.Interface, error) {
	if kube := s.kube.Load(); kube != nil {
		return kube, nil
	}
	return nil, errors.New("the hub is starting; try again in a moment")
}

// whenLeading serves, on a store that others may reach only with the Lease.
func (s *start) whenLeading(ctx context.Context) error {
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	if s.live, err = client.New(s.cfg, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to the hub's own API: %w", err)
	}
	if err := ensureNamespace(ctx, s.live, s.Namespace); err != nil {
		return err
	}
	deaf, err := s.serveHooks(s.live)
	if err != nil {
		return err
	}
	defer deaf()
	if !s.external() {
		return s.serve(ctx)
	}
	identity, err := replicaName(s.DataDir)
	if err != nil {
		return err
	}
	s.self = whereabouts{Name: identity, Address: s.api.PeerAddress()}
	s.peers = s.api.PeerTransport()
	c := newCandidate(s.kube.Load(), s.Namespace, identity, s.Content != "", func(leader string) {
		s.Log.Info("standing by", "leader", leader)
		s.standBy(leader)
	})
	if err := c.check(ctx, s.live); err != nil {
		return err
	}
	s.cfg = rest.CopyConfig(s.cfg)
	s.cfg.Wrap(c.tenure.fence)
	if s.live, err = client.New(s.cfg, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect a leader to the hub's own API: %w", err)
	}
	standing, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-s.api.Done():
		case <-standing.Done():
		}
	}()
	return c.lead(standing, s.serve)
}

// serve runs everything that works on the API.
func (s *start) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.late.lead(nil)
	// While this hub stood by, the root may have been rotated.
	if _, err := s.keys.ca.Refresh(); err != nil {
		return err
	}
	stamp, err := takeTerm(ctx, s.live, s.Namespace, s.self)
	if err != nil {
		return err
	}
	if s.host != nil {
		if err := s.host.Lead(ctx, s.cfg, fmt.Sprint(stamp.Term)); err != nil {
			return err
		}
	}
	mgr, err := manager.New(s.cfg, manager.Options{
		Scheme:         s.live.Scheme(),
		Metrics:        server.Options{BindAddress: "0"},
		LeaderElection: false,
		Cache:          withAccess(freezeOnly(s.Namespace)),
		// A process may hold several hubs, as tests do; nothing here reads metrics by name.
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return fmt.Errorf("prepare the controllers: %w", err)
	}
	values, err := s.values()
	if err != nil {
		return err
	}
	contents, err := s.contents(ctx)
	if err != nil {
		return err
	}
	h := &hub{
		Options: s.Options, audit: s.audit, stamp: stamp, live: s.live, mgr: mgr, ca: s.keys.ca,
		depot: depot.New(contents, values, s.Namespace, s.keys.refs),
	}
	listener, err := h.assemble()
	if err != nil {
		return err
	}
	s.late.lead(h.fleetAPI())
	var wg sync.WaitGroup
	defer wg.Wait()
	run := func(what string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	run("Kubernetes' controllers", func(ctx context.Context) error { return s.api.RunControllers(ctx, s.cfg) })
	run("controllers", mgr.Start)
	run("agents' port", listener.Serve)
	run("agents' root", h.followRoot)
	run("direct clusters", h.direct.run)
	run("applications of the hub itself", h.hubapps.Run)
	run("status pulse", func(ctx context.Context) error { h.statusPulse.run(ctx); return nil })
	run("cluster pulse", func(ctx context.Context) error { h.clusterPulse.run(ctx); return nil })
	run("values", h.values.Start)
	run("values pulse", func(ctx context.Context) error { h.valuesPulse.run(ctx); return nil })
	run("notifications", h.teller.Run)
	run("alerts", h.pushAlerts)
	run("sweep", h.keepSwept)
	run("book", h.completeBook)
	run("rollout pulse", func(ctx context.Context) error { h.rolloutPulse.run(ctx); return nil })
	run("intent pulse", func(ctx context.Context) error { h.intentPulse.run(ctx); return nil })
	if err := h.begin(ctx); err != nil {
		cancel(err)
		return err
	}
	s.ready(Ready{API: s.api.Address(), Agents: h.address(), AdminKubeconfig: s.api.AdminKubeconfig()})
	select {
	case <-ctx.Done():
	case <-s.api.Done():
		cancel(s.api.Wait())
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// external says that other hubs may reach the store.
func (o *Options) external() bool { return o.Host != nil || len(o.Etcd.Servers) > 0 }

// storage names the mode, as people are told it.
func (o *Options) storage() string {
	switch {
	case o.Host != nil:
		return "kubernetes"
	case o.external():
		return "etcd"
	}
	return "embedded"
}

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(clientscheme.AddToScheme(s), v1alpha1.AddToScheme(s))
}

// lateHandler answers 503 until the handler behind it exists. What answers for
// a hub that stands by gives way to what answers for one that leads, for good.
type lateHandler struct {
	h     atomic.Pointer[http.Handler]
	mu    sync.Mutex
	leads bool
	end   func() // of what answers for a hub that stands by; nil without
}

// standBy has h answer until end is called, unless the hub leads by now.
func (l *lateHandler) standBy(h http.Handler, end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leads {
		end()
		return
	}
	l.h.Store(&h)
	l.replace(end)
}

// lead has h answer; nil while a hub that leads is not ready yet.
func (l *lateHandler) lead(h http.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leads = true
	if h == nil {
		l.h.Store(nil)
	} else {
		l.h.Store(&h)
	}
	l.replace(nil)
}

// replace ends what answered before; mu is held.
func (l *lateHandler) replace(end func()) {
	if l.end != nil {
		l.end()
	}
	l.end = end
}

func (l *lateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := l.h.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	unavailable(w, "the hub is starting")
}

// unavailable asks to try again in a moment.
func unavailable(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, why, http.StatusServiceUnavailable)
}

// quiet keeps controller-runtime's chatter out of the hub's log.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }
func (q quiet) WithGroup(name string) slog.Handler       { return quiet{q.Handler.WithGroup(name)} }
