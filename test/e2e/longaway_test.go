package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/clock"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/testfleet"
)

// past is a fleet of the test's own whose time can go on.
type past struct {
	*testfleet.Fleet
	t    *testing.T
	skew string // file of the hub's clock
}

func withTime(t *testing.T, clusters ...testfleet.Cluster) *past {
	t.Helper()
	p := &past{t: t, skew: filepath.Join(t.TempDir(), "skew")}
	t.Setenv(clock.Variable, p.skew) // of the hub and of commands; agents have their own
	p.Fleet = testfleet.Start(t, testfleet.Options{Clusters: clusters})
	return p
}

// is makes it so much later for everybody.
func (p *past) is(later time.Duration) {
	p.t.Helper()
	if err := os.WriteFile(p.skew, []byte(later.String()), 0o600); err != nil {
		p.t.Fatal(err)
	}
	for _, m := range p.Members() {
		skewed(m, later)
	}
}

// rotateRoot returns when the hub that runs has noticed.
func (p *past) rotateRoot() {
	p.t.Helper()
	from := sizeOf(p.t, p.Hub.LogPath())
	keys := []string{"--data-dir", p.Hub.DataDir}
	for _, store := range []string{"etcd", "host"} {
		if dir := filepath.Join(p.Hub.Dir, store, "keys"); exist(dir) {
			keys = []string{"--keys", dir}
		}
	}
	if r := p.Hub.CLI(append([]string{"hub", "rotate-root"}, keys...)...); r.Code != 0 || !has(r.Stderr, "signs agents now") {
		p.t.Fatalf("rotate the root: %s", r)
	}
	logSays(p.t, p.Hub.LogPath(), from, "the agents' root was rotated")
}

func exist(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// meddles changes what was delivered, and waits until the agent has put it right.
func meddles(t *testing.T, m *testfleet.Member, with string) {
	t.Helper()
	before, err := value(t.Context(), m, "away", "web")
	if err != nil {
		t.Fatal(err)
	}
	web := &corev1.ConfigMap{ObjectMeta: named("away", "web")}
	patch := mergePatch(map[string]any{"data": map[string]any{"value": with}})
	if err := m.Client().Patch(t.Context(), web, patch, client.FieldOwner("by-hand")); err != nil {
		t.Fatal(err)
	}
	becomes(t, m, "away", "web", before)
}

// TestAnAgentThatWasAwayForDaysReturnsByItselfAndTellsInOrderWhatItDid: ten days
// behind a cut, with its certificate long expired, itself restarted, and the
// hub's root rotated twice. One that was removed meanwhile does not return.
func TestAnAgentThatWasAwayForDaysReturnsByItselfAndTellsInOrderWhatItDid(t *testing.T) {
	const day = 24 * time.Hour
	f := withTime(t, testfleet.Named("a"), testfleet.Named("revoked"))
	f.Project("away")
	app := f.Deploy("away", "web", configMap("web", "before"), "--cluster", "a", "--cluster", "revoked")
	app.Settles(2)
	a, revoked := f.Member("a"), f.Member("revoked")
	before := certificate(t, a)
	corrections := app.On("a", "is reported", func(s fleetapi.ClusterState) bool { return s.Current }).State.Corrections

	a.Partition()
	revoked.Partition()
	meddles(t, a, "first")
	f.is(3 * day)
	f.rotateRoot()
	remembered(t, a)
	a.Agent.Kill()
	a.Agent.Start()
	meddles(t, a, "second")
	f.is(10 * day)
	f.rotateRoot()
	meddles(t, a, "third")
	f.Deploy("away", "web", configMap("web", "after"))
	f.Hub.MustCLI("remove", "revoked", "--confirm", "revoked")
	if got, err := value(t.Context(), a, "away", "web"); err != nil || got != "before" {
		t.Fatalf("cut off it has %q: %v", got, err)
	}

	from := sizeOf(t, revoked.Agent.LogPath())
	for _, m := range []*testfleet.Member{a, revoked} {
		m.Inject(sandbox.Fault{Kind: sandbox.Partitioned, Until: sandbox.For(time.Second)})
	}
	connected(t, f.Fleet, "a")
	becomes(t, a, "away", "web", "after")
	app.Settles(1)
	if certificate(t, a) == before {
		t.Error("it shows the certificate that has expired")
	}
	told := app.On("a", "tells what it did alone", func(s fleetapi.ClusterState) bool { return s.State.Corrections >= corrections+3 }).State
	var meddled []string
	for _, c := range told.Drift {
		if c.Corrected && c.Manager == "by-hand" {
			meddled = append(meddled, c.New)
		}
	}
	if !slices.Equal(meddled, []string{"first", "second", "third"}) {
		t.Errorf("it tells of %q: %+v", meddled, told.Drift)
	}

	logSays(t, revoked.Agent.LogPath(), from, "the hub refuses this agent")
	if out := f.Hub.MustCLI("status"); has(out, "revoked") {
		t.Errorf("the removed cluster is back:\n%s", out)
	}
	eventually(t, "the removed one keeps what it runs", func(ctx context.Context) error {
		got, err := value(ctx, revoked, "away", "web")
		if err == nil && got != "before" {
			err = errors.New("it has " + got)
		}
		return err
	})
}
