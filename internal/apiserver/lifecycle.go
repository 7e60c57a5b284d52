package apiserver

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// background runs loop until the server ends; the API outlives it.
func (s *Server) background(loop func(context.Context)) {
	s.controllers.Go(func() { loop(s.lifetime) })
}

// awaitReady polls the server's own readiness checks, and says which of them
// failed when time runs out.
func (s *Server) awaitReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(s.LoopbackConfig())
	if err != nil {
		return fmt.Errorf("make the client that waits for the API: %w", err)
	}
	var answer []byte
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		var err error
		answer, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the API to be ready: %w: %s", err, answer)
	}
	return nil
}

// renewalCheck is far more often than renewBefore needs, and costs two reads.
const renewalCheck = 12 * time.Hour

// renewCertificates keeps a hub that is never restarted from expiring: the
// server reloads its files by itself.
func (s *Server) renewCertificates(ctx context.Context) {
	wait.UntilWithContext(ctx, func(context.Context) {
		s.dir.renewServingPair(s.authority, s.options.hosts())
		if err := s.dir.ensureAdminKubeconfig(s.authority, s.address); err != nil {
			klog.ErrorS(err, "renew the admin kubeconfig")
		}
	}, renewalCheck)
}

// RunControllers runs the built-in controllers until ctx ends and they have
// stopped. They write by config, which may refuse a hub that leads no longer.
// Only for a server with DeferControllers, and on one hub at a time.
func (s *Server) RunControllers(ctx context.Context, config *rest.Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.lifetime, cancel)()
	controllers, err := newBuiltinControllers(config, s.chain.informers, s.chain.resources)
	if err != nil {
		return err
	}
	return controllers.run(ctx)
}

func (s *Server) runControllers(ctx context.Context) {
	if err := s.RunControllers(ctx, s.LoopbackConfig()); err != nil {
		klog.ErrorS(err, "run the built-in controllers")
	}
}
