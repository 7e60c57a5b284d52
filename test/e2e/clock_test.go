package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	fleetapi "atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/testfleet"
)

func skewed(m *testfleet.Member, by time.Duration) {
	m.Inject(sandbox.Fault{Kind: sandbox.Skewed, Skew: metav1.Duration{Duration: by}})
}

// TestMembersWhoseClocksAreWrongJoinAndAreShownByTheHubsClock: ten minutes, in
// both directions, cost nothing; for one that is most of a day ahead the
// certificate is due, and renewed.
func TestMembersWhoseClocksAreWrongJoinAndAreShownByTheHubsClock(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c") })
	f.Project("skewed")
	app := f.App("skewed", "web")
	for i, skew := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		skewed(c, skew)
		began := time.Now()
		c.JoinAs(testfleet.Agent, "--label", "stage=skewed")
		text := fmt.Sprintf("%s from here", skew)
		f.Deploy("skewed", "web", configMap("web", text), "--to", "stage=skewed")
		app.Settles(1)
		becomes(t, c, "skewed", "web", text)
		agesAreTheHubs(t, f, app, began)
		if i == 0 {
			c.Leave("c")
		}
	}

	c.Agent.Stop()
	before := certificate(t, c)
	skewed(c, 20*time.Hour) // past two thirds of a day, and what is random about them
	c.Agent.Start()
	eventually(t, "the certificate is renewed", func(context.Context) error {
		if certificate(t, c) == before {
			return errors.New("not yet")
		}
		return nil
	})
	f.Deploy("skewed", "web", configMap("web", "renewed"))
	app.Settles(1)
	becomes(t, c, "skewed", "web", "renewed")
}

// TestAClockThatIsFarBehindIsSaidAndJoinsOnceItIsRight: the hub's certificate
// does not count yet by such a clock.
func TestAClockThatIsFarBehindIsSaidAndJoinsOnceItIsRight(t *testing.T) {
	f := fleet(t)
	c := f.Member("c")
	t.Cleanup(func() { c.Leave("c") })
	skewed(c, -100*time.Hour)
	c.Install("c")
	from := sizeOf(t, c.Agent.LogPath())
	c.Agent.Start()
	logSays(t, c.Agent.LogPath(), from, "this machine's clock is wrong: it says ")
	logSays(t, c.Agent.LogPath(), from, " behind, for the hub's certificate")
	c.Heal()
	f.Hub.MustCLI("accept", "c")
	f.Hub.MustCLI("wait", "cluster/c", "--for=connected", "--timeout=3m")
}

// agesAreTheHubs: nothing that is shown of c is from before it joined, or from
// the future.
func agesAreTheHubs(t *testing.T, f *testfleet.Fleet, app *testfleet.App, began time.Time) {
	t.Helper()
	const rounded = time.Second
	check := func(what string, at time.Time) {
		t.Helper()
		if at.Before(began.Add(-rounded)) || at.After(time.Now().Add(rounded)) {
			t.Errorf("%s is of %s; it joined at %s", what, at, began)
		}
	}
	state := app.On("c", "is reported", func(s fleetapi.ClusterState) bool { return s.Current })
	check("its state", state.AsOf)
	var found *v1alpha1.Cluster
	eventually(t, "its inventory is stored", func(ctx context.Context) error {
		found = &v1alpha1.Cluster{}
		if err := f.Hub.Client().Get(ctx, client.ObjectKey{Name: "c"}, found); err != nil {
			return err
		}
		if found.Status.Facts == nil {
			return errors.New("it is not there")
		}
		return nil
	})
	check("its inventory", found.Status.Facts.ObservedAt.Time)
	check("its connection", found.Status.Connection.Since.Time)
	tree, err := f.Hub.Fleet().Objects(t.Context(), app.Project, app.Name, "c")
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range tree.Clusters {
		check("its answer", answer.AsOf)
	}
}

// certificate is what the agent shows the hub.
func certificate(t *testing.T, m *testfleet.Member) string {
	t.Helper()
	s := &corev1.Secret{}
	if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "atoll-agent-identity"}, s); err != nil {
		t.Fatal(err)
	}
	return string(s.Data["tls.crt"])
}
