package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FaultKind is what is wrong with a cluster on purpose.
type FaultKind string

// A cluster has at most one fault of each kind in force.
const (
	Killed      FaultKind = "killed"
	Paused      FaultKind = "paused"
	Partitioned FaultKind = "partitioned"
	Slowed      FaultKind = "slowed"
	Skewed      FaultKind = "skewed"
)

// From is what a partition separates a cluster from.
type From string

// FromHub cuts what dials out of the cluster, as its agent does. FromOutside
// cuts what dials its API server by the outside address.
const (
	FromHub     From = "hub"
	FromOutside From = "outside"
	FromBoth    From = "both"
)

// Fault is something wrong with a cluster on purpose.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Components are those killed or paused.
	Components []string `json:"components,omitempty"`
	// From and Reset are of a partition. One that does not reset swallows:
	// what is established freezes, what is new hangs.
	From  From `json:"from,omitempty"`
	Reset bool `json:"reset,omitempty"`
	// Latency is added to a round trip, half each way, and Jitter at random
	// between none and all of it on top. Bandwidth is in bits a second each way.
	Latency   metav1.Duration `json:"latency,omitzero"`
	Jitter    metav1.Duration `json:"jitter,omitzero"`
	Bandwidth int64           `json:"bandwidth,omitempty"`
	// Skew is by how much the clocks of its agents are ahead; the cluster's own
	// programs keep the machine's time.
	Skew metav1.Duration `json:"skew,omitzero"`

	Since time.Time `json:"since"`
	// Until is when the fault ends by itself; zero means never.
	Until time.Time `json:"until,omitzero"`
}

// complete fills what was left open and says what is wrong with the rest.
func (f Fault) complete(now time.Time) (Fault, error) {
	f.Since = now
	switch f.Kind {
	case Killed, Paused:
		if err := checkComponents(f.Components); err != nil {
			return f, err
		}
		if len(f.Components) == 0 {
			f.Components = slices.Clone(Components)
		}
	case Partitioned:
		f.From = orDefault(f.From, FromBoth)
		if !slices.Contains([]From{FromHub, FromOutside, FromBoth}, f.From) {
			return f, fmt.Errorf("a cluster is cut off from hub, outside or both, not from %q", f.From)
		}
	case Slowed:
		if f.Latency.Duration < 0 || f.Jitter.Duration < 0 || f.Bandwidth < 0 {
			return f, errors.New("latency, jitter and bandwidth must be positive")
		}
		if f.Latency.Duration == 0 && f.Jitter.Duration == 0 && f.Bandwidth == 0 {
			return f, errors.New("say how slow: a latency, a jitter or a bandwidth")
		}
	case Skewed:
		if f.Skew.Duration == 0 {
			return f, errors.New("say by how much the clock is ahead, such as +10m, or -10m for behind")
		}
	default:
		return f, fmt.Errorf("fault %q must be one of killed, paused, partitioned, slowed, skewed", f.Kind)
	}
	if !f.Until.IsZero() && !f.Until.After(now) {
		return f, errors.New("a fault must last some time: give a positive duration")
	}
	return f, nil
}

func checkComponents(names []string) error {
	for _, name := range names {
		if !slices.Contains(Components, name) {
			return fmt.Errorf("component %q must be one of %s", name, strings.Join(Components, ", "))
		}
	}
	return nil
}

// over says that its time is up.
func (f Fault) over(now time.Time) bool { return !f.Until.IsZero() && !f.Until.After(now) }

// String is what is wrong, in words: "partitioned from hub until 15:04:05".
func (f Fault) String() string {
	words := []string{string(f.Kind)}
	if len(f.Components) > 0 && len(f.Components) < len(Components) {
		words = append(words, strings.Join(f.Components, "+"))
	}
	if f.From != "" {
		words = append(words, "from", string(f.From))
	}
	if f.Reset {
		words = append(words, "by reset")
	}
	if f.Latency.Duration > 0 {
		words = append(words, "latency "+f.Latency.Duration.String())
	}
	if f.Jitter.Duration > 0 {
		words = append(words, "jitter "+f.Jitter.Duration.String())
	}
	if f.Bandwidth > 0 {
		words = append(words, fmt.Sprintf("bandwidth %d bit/s", f.Bandwidth))
	}
	if d := f.Skew.Duration; d > 0 {
		words = append(words, "clock ahead "+d.String())
	} else if d < 0 {
		words = append(words, "clock behind "+(-d).String())
	}
	if !f.Until.IsZero() {
		words = append(words, "until", f.Until.Local().Format(time.TimeOnly))
	}
	return strings.Join(words, " ")
}

// put replaces the fault of the same kind. What is killed or paused besides
// stays so.
func put(faults []Fault, f Fault) []Fault {
	for _, have := range faults {
		if have.Kind != f.Kind {
			continue
		}
		for _, component := range have.Components {
			if !slices.Contains(f.Components, component) {
				f.Components = append(f.Components, component)
			}
		}
		slices.SortFunc(f.Components, func(a, b string) int { return slices.Index(Components, a) - slices.Index(Components, b) })
	}
	return append(without(faults, f.Kind), f)
}

func without(faults []Fault, kinds ...FaultKind) []Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return slices.Contains(kinds, f.Kind) })
}
