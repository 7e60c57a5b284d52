package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/wire"
)

// local answers what the hub asks the agent itself. It serves nothing that the
// agent does not own: objects of its applications, how they differ, their events, the
// wish that one be applied once more, and to a hub that lost its store what it runs.
func (a *agent) local() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, what string, f func(context.Context, desired.Key) (any, error)) {
		mux.HandleFunc(method+" "+localPrefix+"/applications/{project}/{app}/"+what, func(w http.ResponseWriter, r *http.Request) {
			answer, err := f(r.Context(), desired.Key{Project: r.PathValue("project"), Application: r.PathValue("app")})
			if err != nil {
				status := http.StatusInternalServerError
				if errors.Is(err, apply.ErrUnknownEntry) {
					status = http.StatusNotFound
				}
				http.Error(w, err.Error(), status)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer) // the hub is gone if this fails
		})
	}
	handle(http.MethodGet, "objects", a.objects)
	handle(http.MethodGet, "diff", a.diff)
	handle(http.MethodGet, "events", a.events)
	handle(http.MethodPost, "sync", a.syncing(a.engine.SyncNow))
	handle(http.MethodPost, "force", a.syncing(a.engine.ForceNow))
	a.recollecting(mux)
	return mux
}

func (a *agent) objects(ctx context.Context, k desired.Key) (any, error) {
	views, err := a.engine.View(k)
	if err != nil {
		return nil, err
	}
	out := fleet.ClusterObjects{Cluster: a.Bootstrap.Cluster, AsOf: clock.Now(), Objects: make([]fleet.Object, 0, len(views))}
	for _, v := range views {
		out.Objects = append(out.Objects, fleet.Object{Ref: v.Ref, UID: v.UID, Sync: v.Sync, Health: v.Health, Message: v.Message})
	}
	return out, a.addOwned(ctx, out.Objects)
}

func (a *agent) diff(ctx context.Context, k desired.Key) (any, error) {
	differences, err := a.engine.Preview(ctx, k)
	if err != nil {
		return nil, err
	}
	out := fleet.ClusterDiff{Cluster: a.Bootstrap.Cluster, AsOf: clock.Now(), Objects: []fleet.ObjectDiff{}}
	for _, d := range differences {
		out.Objects = append(out.Objects, fleet.ObjectDiff{Ref: d.Ref, Action: string(d.Action), Changes: d.Changes, Message: d.Message})
	}
	return out, nil
}

var errOtherHistory = errors.New("this agent follows a hub of another history; look with atoll status what it waits for")

// syncing asks for nothing new: what is applied is what the agent was told before.
func (a *agent) syncing(begin func(desired.Key) error) func(context.Context, desired.Key) (any, error) {
	return func(ctx context.Context, k desired.Key) (any, error) {
		if h, _ := ctx.Value(headerKey{}).(wire.StreamHeader); !a.memory.follows(h.Stamp) {
			return nil, errOtherHistory
		}
		return fleet.ClusterSync{Cluster: a.Bootstrap.Cluster}, begin(k)
	}
}

// events are the member's about the application's objects and what those own.
func (a *agent) events(ctx context.Context, k desired.Key) (any, error) {
	views, err := a.engine.View(k)
	if err != nil {
		return nil, err
	}
	var namespaces []string
	for _, v := range views {
		if v.Ref.Namespace != "" && !slices.Contains(namespaces, v.Ref.Namespace) {
			namespaces = append(namespaces, v.Ref.Namespace)
		}
	}
	out := []fleet.Event{}
	for _, ns := range namespaces {
		list, err := a.member.CoreV1().Events(ns).List(ctx, metav1.ListOptions{Limit: 500})
		if err != nil {
			return nil, err
		}
		for _, e := range list.Items {
			if concerns(views, e.InvolvedObject) {
				out = append(out, eventOf(a.Bootstrap.Cluster, e))
			}
		}
	}
	return out, nil
}

// concerns tells whether an event is about one of the objects, or about what
// bears its name and a suffix, as ReplicaSets and pods do.
func concerns(views []apply.View, about corev1.ObjectReference) bool {
	return slices.ContainsFunc(views, func(v apply.View) bool {
		if v.Ref.Namespace != about.Namespace {
			return false
		}
		if v.Ref.Kind == about.Kind && v.Ref.Name == about.Name {
			return true
		}
		return workload[v.Ref.Kind] && (about.Kind == "Pod" || about.Kind == "ReplicaSet" || about.Kind == "Job") &&
			len(about.Name) > len(v.Ref.Name) && about.Name[:len(v.Ref.Name)+1] == v.Ref.Name+"-"
	})
}

var workload = map[string]bool{"Deployment": true, "StatefulSet": true, "DaemonSet": true, "Job": true, "CronJob": true, "ReplicaSet": true}

func eventOf(cluster string, e corev1.Event) fleet.Event {
	at := e.LastTimestamp.Time
	if at.IsZero() {
		at = e.EventTime.Time
	}
	if at.IsZero() {
		at = e.CreationTimestamp.Time
	}
	return fleet.Event{At: at, Cluster: cluster, Type: e.Type, Reason: e.Reason, Count: e.Count, Message: e.Message,
		Object: e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name + " in " + e.InvolvedObject.Namespace}
}

func (a *agent) facts(ctx context.Context) (*v1alpha1.Facts, error) {
	f, err := a.engine.Facts(ctx)
	if err != nil {
		return nil, err
	}
	a.upgrader.addTo(&f)
	return &f, nil
}
