package notify

import (
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// DriftSpan is for how long an application's corrections are gathered into one
// event: somebody who fights the hub is one piece of news a minute.
const DriftSpan = time.Minute

// Drifts gathers the corrections that clusters report. It is used by one
// goroutine at a time.
type Drifts struct {
	began   time.Time
	known   map[place]counted
	pending map[desired.Key]*gathered
}

type place struct {
	cluster string
	key     desired.Key
}

type counted struct {
	entry desired.Digest
	count int64
}

type gathered struct {
	from    time.Time
	count   int64
	changes []FieldChange
}

// NewDrifts counts what is corrected from now on.
func NewDrifts(began time.Time) *Drifts {
	return &Drifts{began: began, known: map[place]counted{}, pending: map[desired.Key]*gathered{}}
}

// Reported takes what a cluster says of an application.
func (d *Drifts) Reported(cluster string, s report.State, now time.Time) {
	at := place{cluster, s.Key}
	was, known := d.known[at]
	if s.Corrections == 0 || s.Sync == report.Withdrawn {
		delete(d.known, at)
		return
	}
	d.known[at] = counted{s.Entry, s.Corrections}
	more := s.Corrections - was.count
	switch {
	case !known:
		more = d.recent(s) // or a hub before this one told of it
	case was.entry != s.Entry:
		more = s.Corrections // it counts anew for each entry
	}
	if more <= 0 {
		return
	}
	g := d.pending[s.Key]
	if g == nil {
		g = &gathered{from: now}
		d.pending[s.Key] = g
	}
	g.count += more
	for _, c := range s.Drift[max(0, len(s.Drift)-int(min(more, MaxNamed))):] {
		if c.Corrected && len(g.changes) < MaxNamed {
			g.changes = append(g.changes, FieldChange{Cluster: cluster, Object: clip(c.Object.String(), maxMessage), Path: clip(c.Path, maxMessage), Manager: clip(c.Manager, maxMessage)})
		}
	}
}

// recent counts the corrections of what was changed since this hub listens.
func (d *Drifts) recent(s report.State) (n int64) {
	for _, c := range s.Drift {
		if c.Corrected && c.At >= report.Time(d.began) {
			n++
		}
	}
	return n
}

// Forget drops a cluster that is gone.
func (d *Drifts) Forget(cluster string) {
	for at := range d.known {
		if at.cluster == cluster {
			delete(d.known, at)
		}
	}
}

// Due hands out what has been gathered long enough; uid is the application's,
// "" of one that is gone.
func (d *Drifts) Due(now time.Time, uid func(desired.Key) types.UID) []Event {
	var out []Event
	for key, g := range d.pending {
		if now.Sub(g.from) < DriftSpan {
			continue
		}
		delete(d.pending, key)
		of := uid(key)
		if of == "" {
			continue
		}
		out = append(out, Event{
			Type: DriftCorrected, UID: of, Key: strconv.FormatInt(g.from.UnixMilli(), 10), At: now, Latest: now,
			Subject: Subject{Project: key.Project, Application: key.Application},
			Data: Data{
				Project: key.Project, Application: key.Application, Corrections: g.count, Changes: g.changes, Reason: "DriftCorrected",
				Message: fmt.Sprintf("what others changed was put back %d times", g.count),
			},
		})
	}
	return out
}
