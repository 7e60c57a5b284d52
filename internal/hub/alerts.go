package hub

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/alert/push"
	"atoll.dev/atoll/internal/certificates"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/controllers/application"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/version"
)

// watched is what alerts are evaluated on. What it holds is the cache's own and
// must not be changed.
func (h *hub) watched(ctx context.Context) (alert.State, error) {
	var clusters v1alpha1.ClusterList
	var apps v1alpha1.ApplicationList
	if err := h.mgr.GetClient().List(ctx, &clusters, client.UnsafeDisableDeepCopy); err != nil {
		return alert.State{}, fmt.Errorf("read clusters for alerts: %w", err)
	}
	if err := h.mgr.GetClient().List(ctx, &apps, client.UnsafeDisableDeepCopy); err != nil {
		return alert.State{}, fmt.Errorf("read applications for alerts: %w", err)
	}
	return alert.State{
		Version: version.Version, Clusters: clusters.Items, Applications: apps.Items,
		Members: func(app *v1alpha1.Application) []observed.Member {
			return application.Members(app, h.book, h.fleet, clock.Now(), h.gateway.Heartbeat)
		},
		Certificates: append(h.certificates(), certificates.OfAgents(clusters.Items)...),
	}, nil
}

// certificates are the hub's own: of its authorities, and of its two ports.
// One that cannot be read is one of them, and keeps nobody from the rest.
func (h *hub) certificates() []certificates.Certificate {
	roots := h.ca.Roots()
	texts := []struct {
		use, file string
		pem       []byte
		spare     certificates.Spare
	}{
		{use: "authority of the API", file: filepath.Join(h.Keys, "ca.crt"), spare: certificates.OfAuthority},
		{use: "API", file: filepath.Join(h.DataDir, "pki", "apiserver.crt"), spare: certificates.OfServing},
		{use: "agents' root", pem: []byte(roots.Current), spare: certificates.OfRoot},
		{use: "agents' next root", pem: []byte(roots.Next), spare: certificates.OfRoot},
	}
	var all []certificates.Certificate
	for _, t := range texts {
		var err error
		if t.file != "" {
			t.pem, err = os.ReadFile(t.file)
		}
		c := certificates.Certificate{}
		if err == nil {
			c, err = certificates.Parse(t.use, t.pem, t.spare)
		}
		if err != nil {
			c = certificates.Unreadable(t.use, err)
		}
		all = append(all, c)
	}
	const use = "agents' port"
	port, err := h.gatewayCertificate.GetCertificate(nil)
	if err != nil {
		return append(all, certificates.Unreadable(use, err))
	}
	return append(all, certificates.Of(use, port.Leaf, certificates.OfGateway))
}

// pushAlerts tells Alertmanagers, from when the fleet has had time to say how it
// is: what a hub only remembers would alert nobody, or everybody.
func (h *hub) pushAlerts(ctx context.Context) error {
	if len(h.Alertmanagers) == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-h.book.Complete():
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(application.FirstWord):
	}
	return push.Run(ctx, push.Options{
		Receivers: h.Alertmanagers, Hub: h.stamp.Incarnation, Every: cmp.Or(h.AlertEvery, push.Every), Now: clock.Now, Log: h.Log,
		Alerts: func(ctx context.Context) ([]alert.Alert, error) {
			state, err := h.watched(ctx)
			if err != nil {
				return nil, err
			}
			return alert.Evaluate(state, clock.Now()), nil
		},
	})
}
