package bench_test

import (
	"os"
	"time"

	"atoll.dev/atoll/internal/bench"
)

// usage is processor time by who used it.
type usage struct{ hub, agents, members, bench time.Duration }

func (u usage) total() time.Duration { return u.hub + u.agents + u.members + u.bench }

func (u usage) since(before usage) usage {
	return usage{u.hub - before.hub, u.agents - before.agents, u.members - before.members, u.bench - before.bench}
}

// less is u without what is used over that time when nothing is asked for.
func (u usage) less(idle usage, d time.Duration) usage {
	part := func(all, aSecond time.Duration) time.Duration {
		return all - time.Duration(float64(aSecond)*d.Seconds())
	}
	return usage{part(u.hub, idle.hub), part(u.agents, idle.agents), part(u.members, idle.members), part(u.bench, idle.bench)}
}

// idleUsage is what is used in a second while nothing is asked for.
func (b *bed) idleUsage() usage {
	b.t.Helper()
	const seconds = 10
	before := b.used()
	time.Sleep(seconds * time.Second)
	u := b.used().since(before)
	return usage{u.hub / seconds, u.agents / seconds, u.members / seconds, u.bench / seconds}
}

// used is what every process of the fleet has used until now, and this one,
// which is the raw side's client and both sides' observer.
func (b *bed) used() usage {
	b.t.Helper()
	of := func(pid int) time.Duration {
		d, err := bench.CPU(pid)
		b.must(err)
		return d
	}
	u := usage{hub: of(b.fleet.Hub.PID()), bench: of(os.Getpid())}
	for _, m := range b.members {
		u.agents += of(m.Agent.PID())
		for _, p := range m.Sandbox.State().Processes {
			u.members += of(p.PID)
		}
	}
	return u
}
