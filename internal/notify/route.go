package notify

import (
	"path"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
)

// Route is whom one Notification concerns.
type Route struct {
	events   []string
	selector labels.Selector
	// commits is where the Git host is; nil unless commits are what is told of.
	commits *v1alpha1.CommitStatus
	// since is the time until which all was told when this hub began with it.
	since time.Time
}

// NewRoute reads a Notification, of which all was told until since.
func NewRoute(n v1alpha1.Notification, since time.Time) (Route, error) {
	r := Route{events: n.Events, commits: n.CommitStatus, since: since.Truncate(time.Second)}
	var err error
	if n.Applications != "" {
		if r.selector, err = placement.ParseSelector(n.Applications); err != nil {
			r.selector = labels.Nothing()
		}
	}
	return r, err
}

// Since is the time until which all was told when this hub began with it.
func (r Route) Since() time.Time { return r.since }

// Wants tells whether an event is to be told; of are the application's labels.
func (r Route) Wants(e Event, of map[string]string) bool {
	switch {
	case (e.Type == Commit) != (r.commits != nil):
		return false
	case e.First && e.Latest.Before(r.since):
		return false // it was told, by this hub or one before
	case r.selector != nil && (e.Subject.Cluster != "" || !r.selector.Matches(labels.Set(of))):
		return false
	}
	if r.commits != nil {
		_, ok := Repository(r.commits, e.Report.URL)
		return ok
	}
	return len(r.events) == 0 || slices.ContainsFunc(r.events, func(glob string) bool {
		ok, err := path.Match(glob, e.Type)
		return ok && err == nil
	})
}
