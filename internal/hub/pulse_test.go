package hub

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
)

func named(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "demo", Name: name}
}

func TestTheFirstChangeOfANameWaitsForThoseThatComeWithIt(t *testing.T) {
	p := newPulse(time.Second, 1000, applicationNamed)
	p.settle = 300 * time.Millisecond
	now := time.Unix(1000, 0)
	at := func(after time.Duration) int {
		due, _ := p.take(now.Add(after))
		return len(due)
	}
	p.add(named("x"))
	if due, wait := p.take(now); len(due) != 0 || wait != p.settle {
		t.Fatalf("at first %v are due and the next in %s", due, wait)
	}
	p.add(named("x"))
	for _, step := range []struct {
		after time.Duration
		due   int
	}{{299 * time.Millisecond, 0}, {300 * time.Millisecond, 1}, {301 * time.Millisecond, 0}} {
		if got := at(step.after); got != step.due {
			t.Errorf("after %s %d are due, want %d", step.after, got, step.due)
		}
	}
	p.add(named("x"))
	if got := at(1200 * time.Millisecond); got != 0 {
		t.Error("the second event came within a period of the first")
	}
	if got := at(1300 * time.Millisecond); got != 1 {
		t.Error("the second event did not come after a period")
	}
}

// A clock that only take sees: each name is due at most once a period, the
// first time at once, and never forgotten.
func TestEachNameIsDueAtMostOnceAPeriodAndAlwaysAtLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const period = 10 * time.Second
		p := newPulse(period, 1000, applicationNamed)
		now := time.Unix(1000, 0)
		last, waiting := map[types.NamespacedName]time.Time{}, map[types.NamespacedName]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "add") {
				n := named(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name"))
				p.add(n)
				waiting[n] = true
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "seconds")) * time.Second)
			due, wait := p.take(now)
			for _, n := range due {
				if before, ok := last[n]; ok && now.Sub(before) < period {
					t.Fatalf("%s is due after %s", n, now.Sub(before))
				}
				if !waiting[n] {
					t.Fatalf("%s is due and nobody asked", n)
				}
				last[n] = now
				delete(waiting, n)
			}
			soonest := time.Duration(0)
			for n := range waiting {
				rest := period - now.Sub(last[n])
				if rest <= 0 {
					t.Fatalf("%s should be due", n)
				}
				if soonest == 0 || rest < soonest {
					soonest = rest
				}
			}
			if wait != soonest {
				t.Fatalf("waits %s, the next is due in %s", wait, soonest)
			}
		}
	})
}

func TestNamesThatAreLongPastAreNotRemembered(t *testing.T) {
	p := newPulse(time.Second, 1000, clusterNamed)
	now := time.Unix(1000, 0)
	for i := range 1000 {
		p.add(types.NamespacedName{Name: fmt.Sprint("cluster-", i)})
		now = now.Add(time.Second)
		p.take(now)
	}
	if len(p.last) > 2 {
		t.Errorf("%d names are remembered", len(p.last))
	}
}

func TestEveryNameBecomesAnEvent(t *testing.T) {
	p := newPulse[*v1alpha1.Application](time.Millisecond, 1000, applicationNamed)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.run(ctx); close(done) }()
	for range 3 { // again, after the first events are through
		p.add(named("x"))
		p.add(named("y"))
		var got []string
		for len(got) < 2 {
			e := <-p.events
			if e.Object.Namespace != "demo" {
				t.Errorf("an event for %s", e.Object.Namespace)
			}
			got = append(got, e.Object.Name)
		}
		if slices.Sort(got); !slices.Equal(got, []string{"x", "y"}) {
			t.Errorf("events for %v", got)
		}
	}
	stop()
	<-done
}

func TestAKubeconfigThatUsesTheHubsMachineIsRefused(t *testing.T) {
	kubeconfig := func(cluster, user string) []byte {
		return fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: x,
clusters: [{name: x, cluster: {server: "https://127.0.0.1:1"%s}}],
users: [{name: x, user: {%s}}], contexts: [{name: x, context: {cluster: x, user: x}}]}`, cluster, user)
	}
	if _, err := configOf(kubeconfig("", "token: secret")); err != nil {
		t.Errorf("a token: %v", err)
	}
	for name, data := range map[string][]byte{
		"runs a program":     kubeconfig("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, interactiveMode: Never}"),
		"reads a token":      kubeconfig("", "tokenFile: /etc/hostname"),
		"reads an authority": kubeconfig(`, certificate-authority: /etc/hostname`, "token: secret"),
		"is no kubeconfig":   []byte("nonsense"),
	} {
		if _, err := configOf(data); err == nil {
			t.Errorf("one that %s was taken", name)
		}
	}
}
