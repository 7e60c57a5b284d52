package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/sandbox/standin"
)

// TestTheFieldsIncidents is one test for each class of incident that users of
// multi-cluster control planes have published. What else is known of them is
// proven elsewhere: a source that suddenly yields nothing and a hub set back to
// its backup in test/e2e, certificates long expired in internal/trust and test/e2e.
//
// The witness of each member fails at any deletion and at any step back that
// nobody asked for.
func TestTheFieldsIncidents(t *testing.T) {
	if os.Getenv("ATOLL_E2E_REQUIRED") == "" {
		t.Skip("set ATOLL_E2E_REQUIRED, or: make chaos")
	}
	h := startHub(t, hubProgram(t))
	for i, incident := range []struct {
		name string
		run  func(*fleetOf)
	}{
		{"a generator that suddenly yields no cluster", noClusters},
		{"a controller that restarts with a cold cache", coldCache},
		{"an agent that goes down and comes up without its store", emptyStore},
		{"a hub that says everything anew after its upgrade", saidAnew},
		{"a copy left over after a partition", leftOver},
		{"a hub whose store is full", fullHub},
		{"two bad clusters beside a good one", badClusters},
	} {
		t.Run(incident.name, func(t *testing.T) {
			const apart = 90_000 // from the seeds
			f := newFleet(t, h, apart+i, script{members: 3})
			incident.run(f)
			f.settle()
		})
	}
}

var web = appID{"left", "web"}

// runsWeb is a fleet on which an application runs that its leaving would delete.
func (f *fleetOf) runsWeb(members ...int) appState {
	f.t.Helper()
	s := appState{Exists: true, Members: members, OnDelete: v1alpha1.Delete, Extras: 2, Content: 1}
	f.ask("create", web, s)
	f.settle()
	return s
}

// applied counts the applies that members saw. Deletions are the witness's.
func (f *fleetOf) applied() int {
	n := 0
	for _, m := range f.members {
		n += m.api.Requests()["apply"]
	}
	return n
}

// Argo CD's ApplicationSets, and others: the list of clusters is empty for a
// moment, and everything that was made from it is deleted.
func noClusters(f *fleetOf) {
	f.runsWeb(0, 1, 2)
	project := projectName(f.seed, web.Project)
	choose := func(rule v1alpha1.PlacementRule) {
		f.eventually("choose other clusters", func(ctx context.Context) error {
			app := &v1alpha1.Application{}
			if err := f.hub.Client.Get(ctx, client.ObjectKey{Namespace: project, Name: web.Name}, app); err != nil {
				return err
			}
			before := client.MergeFrom(app.DeepCopy())
			app.Spec.Placement.PlacementRule = rule
			return f.hub.Client.Patch(ctx, app, before)
		})
	}
	choose(v1alpha1.PlacementRule{Clusters: "chaos.atoll.dev/nobody-has=it"})
	until(f.t, "the hub holds it", func(ctx context.Context) error {
		states, err := f.hub.Fleet.ApplicationClusters(ctx, project, web.Name)
		if err == nil && (states.LeavingDigest == "" || len(states.Leaving) != 3) {
			err = fmt.Errorf("it holds %v", states.Leaving)
		}
		return err
	})
	for i := range f.members {
		if err := f.memberIs(i); err != nil {
			f.t.Error(err)
		}
	}
	choose(v1alpha1.PlacementRule{Names: f.names([]int{0, 1, 2})})
}

// Rancher Fleet, OCM and others: a controller starts, has not read everything yet,
// takes what it lacks for not wanted, and deletes or deploys all of it again.
func coldCache(f *fleetOf) {
	f.runsWeb(0, 1, 2)
	f.rest()
	before := f.applied()
	for range 3 {
		f.hub.kill()
		if err := f.hub.revive(f.t.Context()); err != nil {
			f.t.Fatal(err)
		}
		f.settle()
	}
	if after := f.applied(); after != before {
		f.t.Errorf("members were asked to apply %d objects again", after-before)
	}
}

// Fleet and Karmada: an agent that comes back without what it knew takes the
// objects for somebody else's, or its own for no longer wanted.
func emptyStore(f *fleetOf) {
	s := f.runsWeb(0, 1, 2)
	for _, m := range f.members {
		m.halt()
		for _, secret := range m.api.Objects(secrets) {
			if name := secret.GetName(); name == "atoll-store" || strings.HasPrefix(name, "atoll-chunk-") {
				m.api.Remove(secrets, secret.GetNamespace(), name)
			}
		}
	}
	f.hub.kill()
	for _, m := range f.members {
		m.start() // and nobody tells it anything
	}
	if err := f.hub.revive(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.settle()
	s.Content = 2
	f.ask("change", web, s)
}

// Several: a new version names or renders everything a little differently, and
// the fleet replaces what it runs, or deletes it first.
func saidAnew(f *fleetOf) {
	f.runsWeb(0, 1, 2)
	f.rest()
	before := f.applied()
	f.hub.kill()
	if err := f.hub.revive(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.eventually("every entry gets another digest", func(ctx context.Context) error {
		p := &v1alpha1.Project{}
		if err := f.hub.Client.Get(ctx, client.ObjectKey{Name: projectName(f.seed, web.Project)}, p); err != nil {
			return err
		}
		change, budget := client.MergeFrom(p.DeepCopy()), int32(77)
		p.Spec.DeletionBudget = &budget
		return f.hub.Client.Patch(ctx, p, change)
	})
	until(f.t, "all agents are told", func(ctx context.Context) error {
		states, err := f.hub.Fleet.ApplicationClusters(ctx, projectName(f.seed, web.Project), web.Name)
		if err == nil && (len(states.Clusters) != 3 || !states.Clusters[0].Current || !states.Clusters[1].Current || !states.Clusters[2].Current) {
			err = errors.New("reports are of what was said before")
		}
		return err
	})
	f.rest()
	if after := f.applied(); after != before {
		f.t.Errorf("members were asked to apply %d objects again", after-before)
	}
}

// Karmada and OCM: what moves while a cluster cannot be reached runs twice for
// ever, and nobody says so.
func leftOver(f *fleetOf) {
	s := f.runsWeb(0)
	f.members[0].setLink("hangs")
	s.Members = []int{1}
	f.ask("change", web, s)
	until(f.t, "it runs where it moved to", func(context.Context) error { return f.memberIs(1) })
	until(f.t, "the hub says where it may still run", func(ctx context.Context) error {
		app := &v1alpha1.Application{}
		err := f.hub.Client.Get(ctx, client.ObjectKey{Namespace: projectName(f.seed, web.Project), Name: web.Name}, app)
		if err == nil && !slices.Contains(app.Status.Withdrawing, f.members[0].name) {
			err = fmt.Errorf("it is leaving %v", app.Status.Withdrawing)
		}
		return err
	})
	f.members[0].setLink("open")
}

// All who keep copies per cluster: etcd has no space, takes no more writes, and
// what ran without them stops with it.
func fullHub(f *fleetOf) {
	s := f.runsWeb(0, 1, 2)
	store, err := filepath.EvalSymlinks(filepath.Join(f.hub.dir, "data", "pki", "etcd.sock"))
	if err != nil {
		f.t.Fatal(err)
	}
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + store}, DialTimeout: patience})
	if err != nil {
		f.t.Fatal(err)
	}
	defer etcd.Close()
	alarm := func(action pb.AlarmRequest_AlarmAction) {
		f.t.Helper()
		ctx, cancel := context.WithTimeout(f.t.Context(), patience)
		defer cancel()
		if _, err := pb.NewMaintenanceClient(etcd.ActiveConnection()).Alarm(ctx, &pb.AlarmRequest{Action: action, Alarm: pb.AlarmType_NOSPACE}); err != nil {
			f.t.Fatal(err)
		}
	}
	alarm(pb.AlarmRequest_ACTIVATE)
	app := f.application(web, s)
	change := client.MergeFrom(app.DeepCopy())
	app.Labels = map[string]string{"chaos.atoll.dev/refused": "yes"}
	if err := f.hub.Client.Patch(f.t.Context(), app, change); err == nil || !strings.Contains(err.Error(), "space") {
		f.t.Errorf("a hub that can store nothing says: %v", err)
	}
	for _, m := range f.members {
		if err := m.edit(projectName(f.seed, web.Project), web.Name); err != nil {
			f.t.Fatal(err)
		}
	}
	for i, m := range f.members {
		until(f.t, "what somebody changed is put right", func(context.Context) error { return f.memberIs(i) })
		m.halt()
		m.remove(projectName(f.seed, web.Project), web.Name)
		m.start()
		until(f.t, "an agent that starts meanwhile goes on", func(context.Context) error { return f.memberIs(i) })
	}
	alarm(pb.AlarmRequest_DEACTIVATE)
	s.Content = 2
	f.ask("change", web, s)
}

// Everybody: one cluster that hangs takes the workers, and the rest of the fleet
// waits for it.
func badClusters(f *fleetOf) {
	s := f.runsWeb(0, 1, 2)
	f.members[0].setLink("hangs")
	f.members[1].api.Interfere(func(*http.Request) standin.Fault { return standin.Fault{Delay: time.Hour} })
	for content := 2; content < 6; content++ {
		s.Content = content
		f.ask("change", web, s)
		until(f.t, "the good one has what is asked", func(context.Context) error { return f.memberIs(2) })
	}
	f.members[0].setLink("open")
	f.members[1].setAPI("is well")
	// What hung was never answered; only its end frees who waits for it.
	f.members[1].halt()
	f.members[1].start()
}
