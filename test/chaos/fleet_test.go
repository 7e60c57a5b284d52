package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/sandbox/standin"
)

// fleetOf is the fleet of one seed.
type fleetOf struct {
	t       *testing.T
	hub     *lonelyHub
	seed    int
	members []*member
	intent  *intent
	began   time.Time
	done    []string
	allowed int // deletions that were held until a person allowed them
}

func projectName(seed int, side string) string { return fmt.Sprintf("%s-%d", side, seed) }

// newFleet makes projects and members, and waits until all are connected.
func newFleet(t *testing.T, h *lonelyHub, seed int, s script) *fleetOf {
	t.Helper()
	f := &fleetOf{t: t, hub: h, seed: seed, intent: &intent{asks: map[appID][]appState{}}, began: time.Now()}
	if err := h.revive(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.end)
	for _, side := range []string{"left", "right"} {
		p := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: projectName(seed, side)}}
		if few := int32(2); side == "right" {
			p.Spec.DeletionBudget = &few // so that much of what goes is held for a person
		}
		f.create(p)
	}
	log, err := os.Create(filepath.Join(logs(t), fmt.Sprintf("seed-%d.log", seed)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	logger := slog.New(slog.NewTextHandler(&logTo{file: log}, nil))
	for i := range s.members {
		f.members = append(f.members, f.join(i, logger))
	}
	for _, m := range f.members {
		m.start()
	}
	until(t, "all agents are connected", f.connected)
	for _, side := range []string{"left", "right"} {
		until(t, "the project is known", func(ctx context.Context) error {
			p := &v1alpha1.Project{}
			if err := h.Client.Get(ctx, client.ObjectKey{Name: projectName(seed, side)}, p); err != nil || len(p.Status.Conditions) > 0 {
				return err
			}
			return errors.New("it has no conditions")
		})
	}
	return f
}

// logs is where agents' logs go: ATOLL_CHAOS_LOGS, or nowhere that lasts.
func logs(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("ATOLL_CHAOS_LOGS"); dir != "" {
		return dir
	}
	return t.TempDir()
}

func (f *fleetOf) create(o client.Object) {
	f.t.Helper()
	f.eventually("create "+o.GetName(), func(ctx context.Context) error {
		err := f.hub.Client.Create(ctx, o.DeepCopyObject().(client.Object)) //nolint:forcetypeassert // a copy is of its kind
		if apierrors.IsAlreadyExists(err) {
			return nil // made by a try whose answer was lost
		}
		return err
	})
}

// eventually does something at the hub, which may have started just now.
func (f *fleetOf) eventually(what string, do func(context.Context) error) {
	f.t.Helper()
	until(f.t, what, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		return do(ctx)
	})
}

func (f *fleetOf) join(i int, log *slog.Logger) *member {
	f.t.Helper()
	name := fmt.Sprintf("chaos-%d-%d", f.seed, i)
	c := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	c.Spec.Owner, c.Spec.Accepted = "chaos", true
	f.create(c)
	var ticket *fleet.JoinTicket
	f.eventually("let "+name+" join", func(ctx context.Context) (err error) {
		ticket, err = f.hub.Fleet.Join(ctx, name, fleet.JoinRequest{})
		return err
	})
	w := &witness{member: i, seed: f.seed, intent: f.intent, own: map[types.UID]bool{}, last: map[string]int{}}
	m := &member{
		name: name, witness: w, log: log.With("cluster", name),
		api:    standin.New(standin.Options{Name: name, UID: types.UID("uid-of-" + name), Version: "v1.36.3", Nodes: 1, Wrote: w.wrote, Deleted: w.deleted}),
		ticket: join.Ticket{Cluster: name, Token: ticket.Token, Address: f.hub.address, Roots: ticket.Roots},
	}
	m.line, m.proxy = openLine(f.t)
	return m
}

func (f *fleetOf) connected(ctx context.Context) error {
	for _, m := range f.members {
		c := &v1alpha1.Cluster{}
		if err := f.hub.Client.Get(ctx, client.ObjectKey{Name: m.name}, c); err != nil {
			return err
		}
		if c.Status.Connection.State != v1alpha1.Connected {
			return fmt.Errorf("%s is %s", m.name, c.Status.Connection.State)
		}
	}
	return nil
}

// end takes the fleet away from the hub, so that the next seed finds it empty.
func (f *fleetOf) end() {
	for _, m := range f.members {
		m.halt()
		m.api.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.hub.revive(ctx); err != nil {
		f.t.Error(err)
		return
	}
	for _, m := range f.members {
		if err := f.hub.Client.Delete(ctx, &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: m.name}}); client.IgnoreNotFound(err) != nil {
			f.t.Error(err)
		}
	}
	for _, side := range []string{"left", "right"} {
		name := projectName(f.seed, side)
		if err := f.hub.Client.DeleteAllOf(ctx, &v1alpha1.Application{}, client.InNamespace(name)); err != nil {
			f.t.Error(err)
		}
		if err := f.hub.Client.Delete(ctx, &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}}); client.IgnoreNotFound(err) != nil {
			f.t.Error(err)
		}
	}
}

func (f *fleetOf) journal() string { return strings.Join(f.done, "\n") }

// hubView is what the hub tells of every application on every cluster.
func (f *fleetOf) hubView() string {
	var b strings.Builder
	for id, s := range f.intent.now() {
		states, err := f.hub.Fleet.ApplicationClusters(f.t.Context(), projectName(f.seed, id.Project), id.Name)
		if err != nil {
			fmt.Fprintf(&b, "%s/%s, of which %+v is wanted: %v\n", id.Project, id.Name, s, err)
			continue
		}
		for _, c := range states.Clusters {
			fmt.Fprintf(&b, "%s/%s on %s: current %v, withdrawing %v, %+v\n", id.Project, id.Name, c.Cluster, c.Current, c.Withdrawing, c.State)
		}
	}
	return b.String()
}

// tally is what happened, in one line.
func (f *fleetOf) tally() string {
	writes, deletes, left, ended := 0, 0, 0, 0
	for _, m := range f.members {
		m.witness.mu.Lock()
		writes, deletes = writes+m.witness.writes, deletes+m.witness.deletes
		m.witness.mu.Unlock()
		left += m.leftOver
		ended += int(m.gaveUp.Load())
	}
	return fmt.Sprintf("%d members, %d operations, %d objects written, %d deleted; %d deletions allowed by a person, %d leftovers after a store was lost, %d agents ended by themselves; %s",
		len(f.members), len(f.done), writes, deletes, f.allowed, left, ended, time.Since(f.began).Round(time.Second))
}
