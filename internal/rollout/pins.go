package rollout

import (
	"time"

	"atoll.dev/atoll/api/v1alpha1"
)

// Pins are the pins of an application that count at one moment.
type Pins struct {
	// All is the pin for every cluster that has none of its own; nil without.
	All *v1alpha1.Pin
	// Cluster are those for one cluster.
	Cluster map[string]*v1alpha1.Pin
	// Next is how long until one of them expires; zero when none does.
	Next time.Duration
}

// PinsOf reads an application's pins; the first that names a cluster, or all,
// counts there.
func PinsOf(app *v1alpha1.Application, now time.Time) Pins {
	p := Pins{Cluster: map[string]*v1alpha1.Pin{}}
	for i := range app.Spec.Pins {
		pin := &app.Spec.Pins[i]
		if pin.Expires != nil {
			left := pin.Expires.Sub(now)
			if left <= 0 {
				continue
			}
			if p.Next == 0 || left < p.Next {
				p.Next = left
			}
		}
		if len(pin.Clusters) == 0 && p.All == nil {
			p.All = pin
		}
		for _, cluster := range pin.Clusters {
			if p.Cluster[cluster] == nil {
				p.Cluster[cluster] = pin
			}
		}
	}
	return p
}
