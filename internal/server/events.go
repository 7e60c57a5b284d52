package server

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
)

// events joins the hub's own with the members' and with the drift they found.
func (s *server) events(r *http.Request) (any, error) {
	app, err := s.application(r)
	if err != nil {
		return nil, err
	}
	own, err := s.hubEvents(r, app)
	if err != nil {
		return nil, err
	}
	members, silent, err := askAll[[]fleet.Event](s, r, "events")
	if err != nil {
		return nil, err
	}
	all := append(own, s.driftEvents(app)...)
	for _, m := range members {
		all = append(all, m...)
	}
	slices.SortStableFunc(all, func(a, b fleet.Event) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Cluster, b.Cluster)) })
	return fleet.ApplicationEvents{Events: all, Silent: silent}, nil
}

func (s *server) hubEvents(r *http.Request, app *v1alpha1.Application) ([]fleet.Event, error) {
	var list eventsv1.EventList
	if err := s.Live.List(r.Context(), &list, client.InNamespace(app.Namespace)); err != nil {
		return nil, err
	}
	var out []fleet.Event
	for _, e := range list.Items {
		if e.Regarding.UID != app.UID {
			continue
		}
		out = append(out, fleet.Event{At: eventTime(e), Type: e.Type, Reason: e.Reason, Object: "application/" + app.Name, Message: e.Note})
	}
	return out, nil
}

func eventTime(e eventsv1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	default:
		return e.CreationTimestamp.Time
	}
}

func (s *server) driftEvents(app *v1alpha1.Application) []fleet.Event {
	var out []fleet.Event
	for _, cluster := range app.Status.Clusters {
		last, _ := s.Fleet.Get(cluster).Of(keyOf(app))
		for _, ch := range last.Drift {
			out = append(out, driftEvent(cluster, ch))
		}
	}
	return out
}

func driftEvent(cluster string, ch report.Change) fleet.Event {
	e := fleet.Event{At: time.UnixMilli(ch.At), Cluster: cluster, Type: "Warning", Reason: "Drift", Object: ch.Object.String()}
	if ch.New == report.Deleted && ch.Path == "" {
		e.Message = "was deleted"
	} else {
		e.Message = ch.Path + " changed from " + cmp.Or(ch.Old, "nothing") + " to " + cmp.Or(ch.New, "nothing")
	}
	if ch.Manager != "" {
		e.Message += " by " + ch.Manager
	}
	switch {
	case ch.Corrected:
		e.Message += "; corrected"
	case ch.Paused != "":
		e.Message += "; correction is paused until " + ch.Paused
	}
	return e
}
