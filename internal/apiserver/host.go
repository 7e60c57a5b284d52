package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// HostCluster is a Kubernetes cluster of someone else's that serves and stores
// the API in the place of a control plane of our own.
type HostCluster struct {
	// Kubeconfig is a file; empty within the cluster itself, as a pod's account.
	Kubeconfig string
	// Namespace holds what the hub itself keeps there.
	Namespace string
}

// Host is the part of a control plane that a host cluster lacks: admission by
// our validators, called as a webhook, and the APIs that handlers answer,
// called by its aggregator. Everything else is the host's own.
type Host struct {
	options  Options
	cluster  HostCluster
	config   *rest.Config
	kube     kubernetes.Interface
	dir      dataDir
	lock     *os.File
	listener net.Listener
	// authority signs what the host is to trust.
	authority *pki.Authority
	admission string // path of the webhook
	server    *genericapiserver.GenericAPIServer

	lifetime    context.Context
	endLifetime context.CancelFunc
	background  sync.WaitGroup
	done        chan struct{}
	err         error // why it ended, once done is closed
}

// StartOnHost serves the host's calls. It asks for none before Lead: any number
// of hubs may run this, and one of them leads.
func StartOnHost(ctx context.Context, cluster HostCluster, o Options) (*Host, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	setLog(o.Log)
	h := &Host{options: o, cluster: cluster, dir: dataDir(o.DataDir), done: make(chan struct{})}
	h.lifetime, h.endLifetime = context.WithCancel(ctx)
	if err := h.open(ctx); err != nil {
		h.endLifetime()
		return nil, errors.Join(err, h.release())
	}
	go h.run()
	return h, nil
}

func (h *Host) open(ctx context.Context) (err error) {
	if h.lock, err = h.dir.lock(); err != nil {
		return err
	}
	if h.listener, err = h.options.listen(ctx); err != nil {
		return err
	}
	if h.config, err = h.cluster.Config(); err != nil {
		return err
	}
	if h.kube, err = kubernetes.NewForConfig(h.config); err != nil {
		return fmt.Errorf("make the client of the host cluster: %w", err)
	}
	if !h.cluster.inside() && h.externalName() == "" {
		return errNoHost
	}
	keys := h.options.keys()
	if h.authority, err = keys.ensure(); err != nil {
		return err
	}
	if err := h.dir.ensureServingPair(h.authority, h.hosts()); err != nil {
		return err
	}
	if h.admission, err = keys.admissionPath(); err != nil {
		return err
	}
	if err := h.claim(ctx, keys); err != nil {
		return err
	}
	h.server, err = h.newServer()
	return err
}

// Config reads how the host is reached, and asks it nothing.
func (c HostCluster) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if c.Kubeconfig == "" {
		config, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("read how to reach the cluster that stores: %w", err)
	}
	// The host's own fairness is the limit.
	config.QPS, config.Burst = -1, -1
	return config, nil
}

// hosts adds the names by which the host's API server calls.
func (h *Host) hosts() []string {
	o := h.options
	service := hostService + "." + h.cluster.Namespace
	o.PublicAddresses = append([]string{service + ".svc", service + ".svc.cluster.local"}, o.PublicAddresses...)
	return o.hosts()
}

// run serves until the lifetime ends or serving fails.
func (h *Host) run() {
	defer close(h.done)
	h.background.Go(func() {
		wait.UntilWithContext(h.lifetime, func(context.Context) { h.dir.renewServingPair(h.authority, h.hosts()) }, renewalCheck)
	})
	err := h.server.PrepareRun().RunWithContext(h.lifetime)
	if err != nil {
		err = fmt.Errorf("serve the host cluster's calls: %w", err)
	}
	h.endLifetime()
	h.background.Wait()
	h.err = errors.Join(err, h.release())
}

func (h *Host) release() error {
	var errs []error
	if h.listener != nil {
		if err := h.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Close())
	}
	return errors.Join(errs...)
}

// Stop ends it and waits; the error is why it ended, if not because it was told to.
func (h *Host) Stop() error {
	h.endLifetime()
	return h.Wait()
}

// Wait blocks until it has ended, and returns why.
func (h *Host) Wait() error {
	<-h.done
	return h.err
}

// Done is closed when it has ended.
func (h *Host) Done() <-chan struct{} { return h.done }

// Address is where people reach the API: the host cluster's.
func (h *Host) Address() string { return strings.TrimPrefix(h.config.Host, "https://") }

// CACertificate is the PEM of the authority that signed the serving certificate.
func (h *Host) CACertificate() []byte { return h.authority.CertPEM }

// AdminKubeconfig is the file that was given; a pod has none.
func (h *Host) AdminKubeconfig() string { return h.cluster.Kubeconfig }

// LoopbackConfig reaches the host cluster as the hub.
func (h *Host) LoopbackConfig() *rest.Config { return rest.CopyConfig(h.config) }

// RunControllers waits for ctx: the host has controllers of its own.
func (h *Host) RunControllers(ctx context.Context, _ *rest.Config) error {
	<-ctx.Done()
	return nil
}
