package apiserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/apiserver/pki"
)

// Server is a running control plane.
type Server struct {
	options   Options
	dir       dataDir
	address   string
	lock      *os.File
	listener  net.Listener
	authority *pki.Authority
	etcd      *embeddedEtcd // nil with an external store
	chain     *chain
	prepared  runnable

	controllers sync.WaitGroup
	lifetime    context.Context // of the controllers; ends first
	endLifetime context.CancelFunc
	done        chan struct{}
	err         error // why it ended, once done is closed
}

// Start runs a control plane and returns once it is ready: it answers, its
// custom resources are served and the admin kubeconfig works. It runs until ctx
// ends or Stop is called.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	setLog(o.Log)
	s := &Server{options: o, dir: dataDir(o.DataDir), done: make(chan struct{})}
	s.lifetime, s.endLifetime = context.WithCancel(ctx)
	if err := s.open(ctx); err != nil {
		s.endLifetime()
		s.release()
		return nil, err
	}
	if err := s.run(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// open takes everything that Start needs and that release gives back.
func (s *Server) open(ctx context.Context) (err error) {
	if s.lock, err = s.dir.lock(); err != nil {
		return err
	}
	if s.listener, err = s.options.listen(ctx); err != nil {
		return err
	}
	s.address = clientAddress(s.listener)
	keys := s.options.keys()
	if s.authority, err = keys.ensure(); err != nil {
		return err
	}
	if err := s.dir.ensureFiles(s.authority, s.options.hosts(), &s.options.SignIn); err != nil {
		return err
	}
	if err := s.dir.ensureAdminKubeconfig(s.authority, s.address); err != nil {
		return err
	}
	at, err := s.openStore(ctx)
	if err != nil {
		return err
	}
	prints, err := keys.fingerprints(s.authority)
	if err != nil {
		return err
	}
	maps.Copy(prints, s.options.Fingerprints)
	if err := at.claim(ctx, prints); err != nil {
		return err
	}
	completed, err := controlPlaneOptions(ctx, &s.options, at, s.listener)
	if err != nil {
		return err
	}
	if s.chain, err = newChain(completed, &s.options); err != nil {
		return err
	}
	s.prepared, err = s.chain.prepare()
	return err
}

// openStore starts the embedded store unless there is an external one.
func (s *Server) openStore(ctx context.Context) (at store, err error) {
	if s.options.external() {
		e := s.options.Etcd
		return store{e.Servers, e.CAFile, e.CertFile, e.KeyFile, cmp.Or(e.Prefix, defaultPrefix)}, nil
	}
	if s.etcd, err = startEtcd(ctx, s.dir, s.options.Log); err != nil {
		return at, err
	}
	return store{servers: []string{s.etcd.endpoint}, prefix: defaultPrefix}, nil
}

func (s *Server) release() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.etcd != nil {
		s.etcd.close()
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// run serves, and returns when the API is ready. From here on the goroutine of
// supervise ends everything.
func (s *Server) run(ctx context.Context) error {
	// Not ctx itself: the controllers end before the API that they talk to.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- s.prepared.RunWithContext(serving) }()
	// The end waits for this start to have noticed it.
	s.controllers.Add(1)
	defer s.controllers.Done()
	go s.supervise(served, stopServing)

	if err := s.makeReady(s.lifetime); err != nil {
		return err
	}
	s.background(s.renewCertificates)
	s.background(func(ctx context.Context) { s.options.SignIn.follow(ctx, s.dir) })
	if !s.options.DeferControllers {
		s.background(s.runControllers)
	}
	return nil
}

// startTimeout is for the slowest disk; a start takes seconds.
const startTimeout = 2 * time.Minute

func (s *Server) makeReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	// Custom resources are installed while the server writes its RBAC roles,
	// which is what it needs longest for.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return installCRDs(ctx, s.LoopbackConfig(), s.options.CRDs) })
	group.Go(func() error {
		if err := s.awaitReady(ctx); err != nil {
			return err
		}
		if err := grantAdmins(ctx, s.LoopbackConfig()); err != nil {
			return err
		}
		return awaitAdmins(ctx, s.chain.front.GenericAPIServer.Authorizer)
	})
	return group.Wait()
}

// supervise waits for the end, whatever brings it, and ends the parts in order:
// controllers, API, store.
func (s *Server) supervise(served <-chan error, stopServing context.CancelFunc) {
	defer close(s.done)
	var failure error
	select {
	case <-s.lifetime.Done():
	case failure = <-served:
		failure = fmt.Errorf("the API server ended: %w", failure)
		served = nil
	case failure = <-s.storeErrors():
		failure = fmt.Errorf("the store ended: %w", failure)
	}
	s.endLifetime()
	s.controllers.Wait()
	stopServing()
	if served != nil {
		failure = errors.Join(failure, <-served)
	}
	s.err = errors.Join(failure, s.release())
}

func (s *Server) storeErrors() <-chan error {
	if s.etcd == nil {
		return nil
	}
	return s.etcd.etcd.Err()
}

// Stop ends the server and waits until the store is closed. The error is why
// it ended, if not because it was told to.
func (s *Server) Stop() error {
	s.endLifetime()
	return s.Wait()
}

// Wait blocks until the server has ended, and returns why.
func (s *Server) Wait() error {
	<-s.done
	return s.err
}

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Address is the host:port that clients on this machine use.
func (s *Server) Address() string { return s.address }

// AdminKubeconfig is the file with which a person administers this hub.
func (s *Server) AdminKubeconfig() string { return s.dir.adminKubeconfig() }

// CACertificate is the PEM of the authority that signed the serving certificate.
func (s *Server) CACertificate() []byte { return s.authority.CertPEM }

// LoopbackConfig is for this process only: it acts as system:masters, with a
// token that no file holds, and is not slowed down.
func (s *Server) LoopbackConfig() *rest.Config {
	config := rest.CopyConfig(s.chain.front.GenericAPIServer.LoopbackClientConfig)
	// The default would be protobuf, which custom resources do not speak.
	config.ContentType, config.AcceptContentTypes = "", ""
	config.QPS, config.Burst = -1, -1
	return config
}
