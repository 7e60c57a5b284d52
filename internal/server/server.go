// Package server answers the fleet API: what the hub knows of many clusters at
// once. Requests arrive authenticated and authorized by the API server that
// mounts it; answers carry their age and name the clusters that kept silent.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/audit"
	"atoll.dev/atoll/internal/controllers/application"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/gateway"
	"atoll.dev/atoll/internal/metrics"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/trust"
)

// Tokens makes join tokens known.
type Tokens interface {
	SaveToken(context.Context, trust.TokenRecord) error
}

// Options are everything the fleet API reads and asks.
type Options struct {
	Client client.Reader
	// Live reads what is not worth a cache, such as events, and what was made
	// a moment ago.
	Live    client.Reader
	Book    *desired.Book
	Fleet   *observed.Fleet
	Gateway *gateway.Gateway
	Depot   *depot.Depot
	// Intent is what decides for applications; plans rehearse with it.
	Intent *application.Intent
	Tokens Tokens
	// Itself answers for applications that are delivered to the hub itself, as
	// agents do for their members.
	Itself interface {
		Answer(ctx context.Context, path string) ([]byte, error)
	}
	// Address is where agents dial, Roots the PEM they pin.
	Address func() string
	Roots   func() ([]byte, error)
	Hub     fleet.HubInfo
	// Freeze reads the freeze of everything, nil when there is none.
	Freeze func(context.Context) (*v1alpha1.Freeze, error)
	// Watched is what alerts are evaluated on.
	Watched func(context.Context) (alert.State, error)
	// Audit records what is done here.
	Audit *audit.Log
	Now   func() time.Time
}

// Resources are what discovery lists.
func Resources() []metav1.APIResource {
	return []metav1.APIResource{
		{Name: "overview", SingularName: "overview", Kind: "Overview", Verbs: metav1.Verbs{"get"}},
		{Name: "alerts", SingularName: "alert", Kind: "Alerts", Verbs: metav1.Verbs{"get"}},
		{Name: "certificates", SingularName: "certificate", Kind: "Certificates", Verbs: metav1.Verbs{"get"}},
		{Name: "metrics", SingularName: "metric", Kind: "Metrics", Verbs: metav1.Verbs{"get"}},
		{Name: "applications", SingularName: "application", Namespaced: true, Kind: "ApplicationClusters", Verbs: metav1.Verbs{"get"}},
		{Name: "applications/sync", SingularName: "", Namespaced: true, Kind: "ApplicationSync", Verbs: metav1.Verbs{"create"}},
		{Name: "audit", SingularName: "audit", Kind: "AuditLog", Verbs: metav1.Verbs{"get"}},
		{Name: "contents", SingularName: "content", Namespaced: true, Kind: "Receipt", Verbs: metav1.Verbs{"create"}},
		{Name: "plans", SingularName: "plan", Namespaced: true, Kind: "PlanAnswer", Verbs: metav1.Verbs{"create"}},
		{Name: "clusters", SingularName: "cluster", Kind: "ClusterReport", Verbs: metav1.Verbs{"get"}},
		{Name: "clusters/memory", SingularName: "", Kind: "Memory", Verbs: metav1.Verbs{"get", "create"}},
		{Name: "clusters/join", SingularName: "", Kind: "JoinTicket", Verbs: metav1.Verbs{"create"}},
		{Name: "clusters/proxy", SingularName: "", Kind: "ProxyOptions", Verbs: metav1.Verbs{"get", "create", "update", "patch", "delete"}},
	}
}

type server struct {
	Options
	// verifying holds who verifies the audit log.
	verifying chan struct{}
}

// New is the handler of everything below fleet.Path.
func New(o Options) http.Handler {
	s := &server{Options: o, verifying: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	route := func(pattern string, f func(*http.Request) (any, error)) {
		method, path, _ := cut(pattern)
		mux.HandleFunc(method+" "+fleet.Path+path, func(w http.ResponseWriter, r *http.Request) {
			answer, err := f(r)
			write(w, answer, err)
		})
	}
	route("GET /overview", s.overview)
	route("GET /alerts", s.alerts)
	route("GET /certificates", s.certificates)
	route("GET /namespaces/{project}/applications/{app}/clusters", s.applicationClusters)
	route("GET /namespaces/{project}/applications/{app}/explain", s.explain)
	route("GET /namespaces/{project}/applications/{app}/objects", s.objects)
	route("GET /namespaces/{project}/applications/{app}/diff", s.diff)
	route("POST /namespaces/{project}/applications/{app}/sync", s.audited("sync", "applications", "sync", s.sync))
	route("GET /namespaces/{project}/applications/{app}/events", s.events)
	route("POST /namespaces/{project}/contents", s.audited("create", "contents", "", s.upload))
	route("POST /namespaces/{project}/plans", newPlanner(s).plan)
	route("GET /clusters/{cluster}/report", s.report)
	route("GET /clusters/{cluster}/memory", s.memory)
	mux.Handle("GET "+fleet.Path+"/metrics", metrics.New(metrics.Options{
		Hub: metrics.Hub{Version: o.Hub.Version, Storage: o.Hub.Storage, Term: o.Hub.Term}, State: o.Watched, Now: o.Now,
	}))
	route("POST /clusters/{cluster}/memory", s.audited("create", "clusters", "memory", s.recollect))
	route("POST /clusters/{cluster}/join", s.audited("create", "clusters", "join", s.join))
	route("GET /audit/records", s.records)
	route("GET /audit/verification", s.verification)
	mux.HandleFunc(fleet.Path+"/clusters/{cluster}/proxy/{path...}", s.proxy)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		write(w, nil, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, schema.GroupResource{Group: fleet.GroupVersion.Group}, r.URL.Path, "the fleet API has no such call", 0, false))
	})
	return mux
}

func cut(pattern string) (method, path string, ok bool) {
	for i := range pattern {
		if pattern[i] == ' ' {
			return pattern[:i], pattern[i+1:], true
		}
	}
	return "", "", false
}

// write answers errors as a Status, like every Kubernetes API.
func write(w http.ResponseWriter, answer any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status := statusOf(err)
		w.WriteHeader(int(status.Code))
		answer = status
	}
	_ = json.NewEncoder(w).Encode(answer) // the caller is gone if this fails
}

func statusOf(err error) metav1.Status {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	s := known.Status()
	s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return s
}

func resource(name string) schema.GroupResource {
	return schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: name}
}

func (s *server) application(r *http.Request) (*v1alpha1.Application, error) {
	app := &v1alpha1.Application{}
	name := types.NamespacedName{Namespace: r.PathValue("project"), Name: r.PathValue("app")}
	if err := s.get(r.Context(), name, app); err != nil {
		return nil, err
	}
	return app, nil
}

func (s *server) cluster(ctx context.Context, name string) (*v1alpha1.Cluster, error) {
	c := &v1alpha1.Cluster{}
	if err := s.get(ctx, types.NamespacedName{Name: name}, c); err != nil {
		return nil, err
	}
	return c, nil
}

// get asks the API when the cache has no such object: the caller may have made
// it a moment ago.
func (s *server) get(ctx context.Context, name types.NamespacedName, into client.Object) error {
	err := s.Client.Get(ctx, name, into)
	if apierrors.IsNotFound(err) {
		return s.Live.Get(ctx, name, into)
	}
	return err
}

// caller is who asks, as the API server authenticated them.
func caller(r *http.Request) (user.Info, error) {
	u, ok := request.UserFrom(r.Context())
	if !ok {
		return nil, errors.New("the request carries no user")
	}
	return u, nil
}

func badRequest(format string, args ...any) error {
	return apierrors.NewBadRequest(fmt.Sprintf(format, args...))
}
