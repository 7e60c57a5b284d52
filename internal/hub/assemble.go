package hub

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/audit"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/controllers/application"
	"atoll.dev/atoll/internal/controllers/cluster"
	"atoll.dev/atoll/internal/controllers/hubapp"
	"atoll.dev/atoll/internal/controllers/notify"
	"atoll.dev/atoll/internal/controllers/project"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/gateway"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/prometheus"
	"atoll.dev/atoll/internal/registry"
	"atoll.dev/atoll/internal/report"
	fleetserver "atoll.dev/atoll/internal/server"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/version"
	"atoll.dev/atoll/internal/wire"
)

// hub is everything that one running hub holds.
type hub struct {
	Options
	audit *audit.Log
	stamp wire.Stamp
	live  client.Client
	mgr   ctrl.Manager
	depot *depot.Depot

	ca       *trust.CA
	registry *registry.Registry
	book     *desired.Book
	fleet    *observed.Fleet
	gateway  *gateway.Gateway
	listener *link.Listener
	intent   *application.Intent
	direct   *direct
	hubapps  *hubapp.Runner
	teller   *notify.Teller

	statusPulse *pulse[*v1alpha1.Application]
	intentPulse *pulse[*v1alpha1.Application]
	// rolloutPulse has a rollout looked at again after its clusters spoke.
	rolloutPulse *pulse[*v1alpha1.Application]
	clusterPulse *pulse[*v1alpha1.Cluster]
	// valuesPulse is for applications whose values in Secrets and ConfigMaps changed.
	valuesPulse *pulse[*v1alpha1.Application]
	values      cache.Cache

	// gatewayCertificate is that of the agents' port.
	gatewayCertificate *trust.Gateway
}

// assemble makes the parts and joins them; nothing runs yet.
func (h *hub) assemble() (*link.Listener, error) {
	h.statusPulse = newPulse(time.Second, 500, applicationNamed)
	// What was decided comes first, and then what the first clusters say: one write.
	h.statusPulse.settle = 300 * time.Millisecond
	h.intentPulse = newPulse(100*time.Millisecond, 500, applicationNamed)
	h.rolloutPulse = newPulse(time.Second, 100, applicationNamed)
	h.clusterPulse = newPulse(time.Second, 100, clusterNamed)
	// A link opens, and then come the inventory and the first report: one write.
	h.clusterPulse.settle = 300 * time.Millisecond
	h.registry = registry.New(h.live, h.mgr.GetClient(), h.Namespace)
	h.book = desired.NewBook(func(cluster string) {
		if cluster == placement.Hub {
			h.hubapps.Notify()
			return
		}
		h.gateway.Notify(cluster)
	})
	h.fleet = observed.New(h.observe)
	var rebuild *trust.Rebuild
	if h.Rebuild {
		rebuild = &trust.Rebuild{Peer: link.RenewPeer, TakeUp: h.registry.TakeUp}
	}
	agents := trust.NewServer(trust.ServerConfig{CA: h.ca, Registry: h.registry, Rebuild: rebuild, Now: clock.Now, Log: h.Log})
	h.gateway = gateway.New(gateway.Options{
		Book: h.book, Fleet: h.fleet, Contents: h.depot,
		Clusters: &registry.Admission{Registry: h.registry, Trust: agents},
		Stamp:    h.stamp, Version: version.Version, Heartbeat: h.Heartbeat, Now: clock.Now, Log: h.Log,
	})
	if err := h.listen(agents); err != nil {
		return nil, err
	}
	h.direct = newDirect(h)
	h.hubapps = hubapp.New(hubapp.Options{
		Config: h.mgr.GetConfig(), Namespace: h.Namespace, Book: h.book, Fleet: h.fleet, Contents: h.depot,
		Heartbeat: h.gateway.Heartbeat, Now: clock.Now, Log: h.Log,
	})
	return h.listener, h.controllers()
}

func (h *hub) listen(agents *trust.Server) error {
	certificate, err := h.ca.Gateway(h.agentNames())
	if err != nil {
		return err
	}
	h.gatewayCertificate = certificate
	h.listener, err = link.Listen(h.AgentListen, link.Config{
		GetCertificate: certificate.GetCertificate,
		Roots:          h.ca.Pool,
		VerifyPeer: func(ctx context.Context, cert *x509.Certificate) error {
			err := agents.VerifyPeer(ctx, cert)
			var refused *trust.Refused
			if errors.As(err, &refused) {
				h.gateway.Note(cert.Subject.CommonName, err)
			}
			return err
		},
		Renew: agents.Handler(),
		OnSession: func(ctx context.Context, s *link.Session) {
			if err := h.gateway.Serve(ctx, s); err != nil {
				h.Log.Debug("link ended", "from", s.RemoteAddr(), "err", err)
			}
		},
		Stamp: func() wire.Stamp { return h.stamp },
		Now:   clock.Now,
		Log:   h.Log,
	})
	return err
}

// address is what agents dial.
func (h *hub) address() string { return h.dialled(h.listener.Addr().String()) }

func (h *hub) fleetAPI() http.Handler {
	return fleetserver.New(fleetserver.Options{
		Client: h.mgr.GetClient(), Live: h.live,
		Book: h.book, Fleet: h.fleet, Gateway: h.gateway, Depot: h.depot, Intent: h.intent, Tokens: h.registry, Itself: h.hubapps,
		Address: h.address,
		Roots:   func() ([]byte, error) { return json.Marshal(h.ca.Roots()) },
		Hub:     fleet.HubInfo{Version: version.Version, Incarnation: h.stamp.Incarnation, Term: h.stamp.Term, Storage: h.storage(), Namespace: h.Namespace},
		Freeze:  h.freeze,
		Watched: h.watched,
		Audit:   h.audit,
		Now:     clock.Now,
	})
}

// observe spreads what agents say to those who must look again. A Cluster holds
// nothing of single applications but the stored report, and for a later one than
// the first its loop wakes by itself: in a large fleet they change all the time.
func (h *hub) observe(c observed.Change) {
	if (c.Link || c.Facts || c.First) && c.Cluster != placement.Hub { // which has no Cluster to be told of
		h.clusterPulse.add(types.NamespacedName{Name: c.Cluster})
	}
	keys := c.Keys
	if c.Link {
		keys = slices.AppendSeq(keys, h.book.Page(c.Cluster).Keys())
	}
	seen := h.fleet.Get(c.Cluster)
	for _, k := range keys {
		name := types.NamespacedName{Namespace: k.Project, Name: k.Application}
		h.statusPulse.add(name)
		if s, _ := seen.Of(k); s.Sync == report.Withdrawn {
			h.intentPulse.add(name)
		}
		if h.intent.Travelling(k) {
			h.rolloutPulse.add(name)
		}
	}
	h.teller.Heard(c)
}

func (h *hub) controllers() error {
	allow, err := egress.ParseAllow(h.SourceAllow)
	if err != nil {
		return err
	}
	h.intent = &application.Intent{
		Client: h.mgr.GetClient(), Depot: h.depot, Book: h.book, Fleet: h.fleet,
		Events: h.mgr.GetEventRecorder("atoll"),
		Runs:   &application.Runs{Client: h.mgr.GetClient(), Live: h.live}, Freeze: h.freeze,
		Metrics:   &application.Metrics{Ask: prometheus.New(egress.Guard{Allow: allow}).Ask, Tell: h.rolloutPulse.add, Now: clock.Now},
		Again:     h.intentPulse.add,
		Heartbeat: h.gateway.Heartbeat, Now: clock.Now, Began: clock.Now(),
	}
	h.teller = h.newTeller(egress.Guard{Allow: allow})
	status := &application.Status{
		Client: h.mgr.GetClient(), Book: h.book, Fleet: h.fleet, Heartbeat: h.gateway.Heartbeat, Now: clock.Now,
		Writes: rate.NewLimiter(statusWrites, statusWrites), Busy: h.intent.Busy, Began: clock.Now(),
	}
	clusters := &cluster.Reconciler{
		Client: h.mgr.GetClient(), Fleet: h.fleet, Heartbeat: h.gateway.Heartbeat, Now: clock.Now,
		Silence: clock.Now().Add(application.FirstWord),
		Removed: h.removed, Recheck: h.gateway.Recheck, Accept: h.gateway.Accept, Wish: h.wish,
		Turned: func(name string) { h.observe(observed.Change{Cluster: name, Link: true}) },
	}
	projects := &project.Reconciler{Client: h.mgr.GetClient()}

	err = builder.ControllerManagedBy(h.mgr).Named("intent").
		For(&v1alpha1.Application{}, builder.WithPredicates(intentChanged)).
		Watches(&v1alpha1.Project{}, handler.EnqueueRequestsFromMapFunc(h.applicationsOf), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Placement{}, handler.EnqueueRequestsFromMapFunc(h.applicationsBy), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Cluster{}, h.onCluster()).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(h.allApplications)). // see freezeOnly
		Watches(&v1alpha1.RolloutRun{}, handler.EnqueueRequestForOwner(h.mgr.GetScheme(), h.mgr.GetRESTMapper(), &v1alpha1.Application{}), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Channel(h.intentPulse.events, &handler.TypedEnqueueRequestForObject[*v1alpha1.Application]{})).
		WatchesRawSource(source.Channel(h.rolloutPulse.events, &handler.TypedEnqueueRequestForObject[*v1alpha1.Application]{})).
		WithOptions(concurrent(application.IntentWorkers)).Complete(h.entering(h.intent))
	if err != nil {
		return fmt.Errorf("prepare the intent controller: %w", err)
	}
	err = builder.ControllerManagedBy(h.mgr).Named("status").
		Watches(&v1alpha1.Application{}, h.onApplication()).
		WatchesRawSource(source.Channel(h.statusPulse.events, &handler.TypedEnqueueRequestForObject[*v1alpha1.Application]{})).
		WithOptions(concurrent(4)).Complete(status)
	if err != nil {
		return fmt.Errorf("prepare the status controller: %w", err)
	}
	err = builder.ControllerManagedBy(h.mgr).Named("cluster").
		For(&v1alpha1.Cluster{}, builder.WithPredicates(intentChanged)).
		Watches(&v1alpha1.Cluster{}, h.onIdentity()).
		WatchesRawSource(source.Channel(h.clusterPulse.events, &handler.TypedEnqueueRequestForObject[*v1alpha1.Cluster]{})).
		WithOptions(concurrent(4)).Complete(reconcile.Func(func(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
		if err := h.direct.ensure(ctx, r.Name); err != nil {
			h.Log.Warn("direct cluster cannot be reached", "cluster", r.Name, "err", err)
		}
		return clusters.Reconcile(ctx, r)
	}))
	if err != nil {
		return fmt.Errorf("prepare the cluster controller: %w", err)
	}
	err = builder.ControllerManagedBy(h.mgr).Named("project").
		For(&v1alpha1.Project{}).
		Watches(&v1alpha1.Project{}, handler.EnqueueRequestsFromMapFunc(h.rivalsOf), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Application{}, handler.EnqueueRequestsFromMapFunc(projectOf), builder.WithPredicates(deletions)).
		Complete(projects)
	if err != nil {
		return fmt.Errorf("prepare the project controller: %w", err)
	}
	if err := errors.Join(h.keepAccess(), h.expireOverrides()); err != nil {
		return err
	}
	return h.followSources()
}

// expireOverrides takes back what was overridden of each kind that an application
// may manage on the hub.
func (h *hub) expireOverrides() error {
	for kind, empty := range map[string]func() client.Object{
		"application": func() client.Object { return &v1alpha1.Application{} },
		"project":     func() client.Object { return &v1alpha1.Project{} },
		"placement":   func() client.Object { return &v1alpha1.Placement{} },
		"cluster":     func() client.Object { return &v1alpha1.Cluster{} },
	} {
		err := builder.ControllerManagedBy(h.mgr).Named("override of "+kind).
			For(empty(), builder.WithPredicates(predicate.NewPredicateFuncs(hubapp.Overridden))).
			Complete(&hubapp.Expiry{Client: h.mgr.GetClient(), Now: clock.Now, New: empty})
		if err != nil {
			return fmt.Errorf("prepare the controller that ends overrides: %w", err)
		}
	}
	return nil
}

// begin loads the stored reports and says which applications must be entered
// before the Book is whole.
func (h *hub) begin(ctx context.Context) error {
	if !h.mgr.GetCache().WaitForCacheSync(ctx) {
		return fmt.Errorf("read the hub's objects: %w", context.Cause(ctx))
	}
	var clusters v1alpha1.ClusterList
	if err := h.mgr.GetClient().List(ctx, &clusters); err != nil {
		return fmt.Errorf("read clusters: %w", err)
	}
	for i := range clusters.Items {
		c := &clusters.Items[i]
		if c.Status.Report == nil {
			continue
		}
		states, err := observed.Unpack(c.Status.Report.Data)
		if err != nil {
			h.Log.Warn("a stored report cannot be read", "cluster", c.Name, "err", err)
			continue
		}
		h.fleet.Load(c.Name, c.Status.Report.ReceivedAt.Time, states)
	}
	return h.intent.Begin(ctx)
}

// bookPatience is how long the Book may take before somebody should know.
const bookPatience = 5 * time.Second

// completeBook has applications looked at again that the Book still lacks: as
// long as it is not whole no cluster is told anything, so one must not be
// forgotten, and who looks at the log should see for which the fleet waits.
func (h *hub) completeBook(ctx context.Context) error {
	tick := time.NewTicker(bookPatience)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.book.Complete():
			return nil
		case <-tick.C:
		}
		waiting := h.intent.Waiting()
		for _, name := range waiting {
			h.intentPulse.add(name)
		}
		if len(waiting) > 0 {
			h.Log.Warn("no cluster is told anything before these applications are worked out", "count", len(waiting), "first", waiting[0].String())
		}
	}
}

// wish has a cluster's agent told which image it should run.
func (h *hub) wish(name string, agent *v1alpha1.AgentWish) {
	if agent == nil {
		h.gateway.Wish(name, nil)
		return
	}
	h.gateway.Wish(name, &wire.Upgrade{Image: agent.Image, Attempt: agent.Attempt})
}

func (h *hub) removed(name string) {
	h.gateway.Wish(name, nil)
	h.gateway.Expel(name)
	h.direct.stop(name)
	h.fleet.Forget(name)
}

func (h *hub) applicationsOf(ctx context.Context, project client.Object) []reconcile.Request {
	touched := h.touched(ctx, project)
	return h.applications(ctx, func(app *v1alpha1.Application) bool { return touched[app.Namespace] })
}

// touched are the names of the project and of those whose namespaces depend on
// what it claims.
func (h *hub) touched(ctx context.Context, project client.Object) map[string]bool {
	var projects v1alpha1.ProjectList
	if err := h.mgr.GetClient().List(ctx, &projects, client.UnsafeDisableDeepCopy); err != nil {
		h.Log.Error("projects cannot be listed", "err", err)
	}
	touched := map[string]bool{project.GetName(): true}
	for i := range projects.Items {
		if p, ok := project.(*v1alpha1.Project); ok && assign.Contend(p, &projects.Items[i]) {
			touched[projects.Items[i].Name] = true
		}
	}
	return touched
}

// rivalsOf are the other projects whose status tells what this one claims.
func (h *hub) rivalsOf(ctx context.Context, project client.Object) []reconcile.Request {
	var out []reconcile.Request
	for name := range h.touched(ctx, project) {
		out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
	return out
}

func (h *hub) applicationsBy(ctx context.Context, placement client.Object) []reconcile.Request {
	return h.applications(ctx, func(app *v1alpha1.Application) bool {
		return app.Spec.Placement != nil && app.Spec.Placement.Ref == placement.GetName()
	})
}

func (h *hub) allApplications(ctx context.Context, _ client.Object) []reconcile.Request {
	return h.applications(ctx, func(*v1alpha1.Application) bool { return true })
}

func (h *hub) applications(ctx context.Context, wanted func(*v1alpha1.Application) bool) []reconcile.Request {
	var apps v1alpha1.ApplicationList
	if err := h.mgr.GetClient().List(ctx, &apps, client.UnsafeDisableDeepCopy); err != nil {
		h.Log.Error("applications cannot be listed", "err", err)
		return nil
	}
	var out []reconcile.Request
	for i := range apps.Items {
		if wanted(&apps.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&apps.Items[i])})
		}
	}
	return out
}

func projectOf(_ context.Context, app client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: app.GetNamespace()}}}
}

var deletions = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	UpdateFunc:  func(event.UpdateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
}

// intentChanged lets status writes pass by.
var intentChanged = predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{},
	predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetDeletionTimestamp() != nil }), fetchedChanged, frozenChanged)

// statusWrites are how many statuses of applications a second the hub writes.
const statusWrites = 50

// factsPause lets the inventories of a whole fleet, which change all the time,
// be one look at each application.
const factsPause = 10 * time.Second

// arrivalPause does the same for clusters that join, which they do by the
// hundred: each would be a look at each application, twice.
const arrivalPause = 500 * time.Millisecond

// onApplication has an application's counts looked at, in the pace at which
// the fleet's words are.
func (h *hub) onApplication() handler.EventHandler {
	look := func(app client.Object) { h.statusPulse.add(client.ObjectKeyFromObject(app)) }
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			look(e.Object)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if application.Concerns(e.ObjectOld.(*v1alpha1.Application), e.ObjectNew.(*v1alpha1.Application)) {
				look(e.ObjectNew)
			}
		},
	}
}

// onIdentity looks at a cluster whose agent enrolled with what follows at once,
// its link: one write of its status.
func (h *hub) onIdentity() handler.EventHandler {
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			before, after := e.ObjectOld.(*v1alpha1.Cluster), e.ObjectNew.(*v1alpha1.Cluster)
			if !reflect.DeepEqual(before.Status.Identity, after.Status.Identity) {
				h.clusterPulse.add(client.ObjectKeyFromObject(after))
			}
		},
	}
}

// onCluster looks at every application again: at once after what a person
// changed, in a moment after an enrolment, after a while when only the
// inventory did. Links that open and close move nothing.
func (h *hub) onCluster() handler.EventHandler {
	all := func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request], wait time.Duration) {
		for _, request := range h.allApplications(ctx, nil) {
			q.AddAfter(request, wait)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, _ event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			all(ctx, q, 0)
		},
		DeleteFunc: func(ctx context.Context, _ event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			all(ctx, q, 0)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			before, after := e.ObjectOld.(*v1alpha1.Cluster), e.ObjectNew.(*v1alpha1.Cluster)
			switch {
			case declaredChanged(before, after):
				all(ctx, q, 0)
			case arrived(before, after):
				all(ctx, q, arrivalPause)
			case !reflect.DeepEqual(placementFacts(before), placementFacts(after)):
				all(ctx, q, factsPause)
			}
		},
	}
}

// declaredChanged compares what placement and entries depend on, but for facts.
func declaredChanged(a, b *v1alpha1.Cluster) bool {
	return a.Generation != b.Generation || a.UID != b.UID ||
		!reflect.DeepEqual(a.Labels, b.Labels)
}

// arrived says that the cluster can be placed on and could not, or the reverse.
func arrived(a, b *v1alpha1.Cluster) bool {
	return (a.Status.Identity == nil) != (b.Status.Identity == nil) ||
		(a.Status.Facts == nil) != (b.Status.Facts == nil)
}

// placementFacts leaves out what changes all the time by nature.
func placementFacts(c *v1alpha1.Cluster) *v1alpha1.Facts {
	f := c.Status.Facts.DeepCopy()
	if f != nil {
		f.ObservedAt = metav1.Time{}
	}
	return f
}

func concurrent(n int) controller.Options {
	return controller.Options{MaxConcurrentReconciles: n}
}
