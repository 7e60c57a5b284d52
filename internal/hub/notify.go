package hub

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/controllers/application"
	"atoll.dev/atoll/internal/controllers/notify"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/notify/deliver"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/source"
)

// newTeller prepares to tell those outside whom projects name. Its word is the
// incarnation's: a hub that starts again tells the same events under the same name.
func (h *hub) newTeller(guard egress.Guard) *notify.Teller {
	return notify.New(notify.Options{
		Client: h.mgr.GetClient(), Live: h.live, Cache: h.mgr.GetCache(), Book: h.book,
		State: func(cluster string, key desired.Key) report.State {
			s, _ := h.fleet.Get(cluster).Of(key)
			return s
		},
		Summary: func(app *v1alpha1.Application) observed.Summary {
			return observed.Summarise(application.Members(app, h.book, h.fleet, clock.Now(), h.gateway.Heartbeat))
		},
		Open: func(n v1alpha1.Notification, secret *source.Secret) (notify.Sender, error) {
			return deliver.New(h.stamp.Incarnation, n, secret, guard)
		},
		Now: clock.Now, Spread: spread, Log: h.Log,
	})
}

// entering has the teller know whose commit the clusters are told of. The
// application is read first: what was entered is of it, or of what it became.
func (h *hub) entering(intent reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
		app := &v1alpha1.Application{}
		known := h.mgr.GetClient().Get(ctx, r.NamespacedName, app) == nil
		result, err := intent.Reconcile(ctx, r)
		if err == nil && known {
			err = h.teller.Entered(ctx, app)
		}
		return result, err
	})
}
