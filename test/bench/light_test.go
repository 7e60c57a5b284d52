package bench_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/agent"
	"atoll.dev/atoll/internal/fleet"
	ticket "atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/sandbox/gitserver"
	"atoll.dev/atoll/internal/sandbox/hubprocess"
	"atoll.dev/atoll/internal/sandbox/standin"
	"atoll.dev/atoll/internal/testfleet"
)

// light is a hub with one member in memory, whose agent is part of this
// process: for what is asked of the hub alone. Both follow one repository.
type light struct {
	*bed
	hub    *hubprocess.Hub
	git    *gitserver.Server
	repo   *gitserver.Repository
	member *standin.Member
	// asked counts the member's requests, leases those of whose turn it is.
	asked, leases atomic.Int64
}

const (
	lightName = "light"
	secretOf  = "repo"
	// longPatience bounds what thousands of objects take.
	longPatience = 5 * time.Minute
)

// newLight starts the hub, the member and its agent, which all end with the test.
func newLight(b *bed) *light {
	l := &light{bed: b}
	t := b.t
	program, err := testfleet.Program("atoll")
	b.must(err)
	ports, err := hubprocess.FreePorts(3)
	b.must(err)
	args := []string{"--listen", ports[0], "--agent-listen", ports[1], "--source-allow", "127.0.0.0/8", "--heartbeat", heartbeat.String(), "--pprof", ports[2]}
	t.Logf("profiles of the hub: http://%s/debug/pprof/", ports[2])
	l.hub, err = hubprocess.Start(t.Context(), program, t.TempDir(), args...)
	b.must(err)
	t.Cleanup(l.hub.Stop)
	l.git, err = gitserver.Start(t.TempDir())
	b.must(err)
	t.Cleanup(func() { _ = l.git.Close() })
	l.repo, err = l.git.Create(secretOf, t.TempDir())
	b.must(err)
	l.join()
	l.create(&v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: project}})
	l.until("the namespace of the project", func(ctx context.Context) error {
		return l.hub.Client.Get(ctx, client.ObjectKey{Name: project}, &corev1.Namespace{})
	})
	l.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: secretOf}, Data: map[string][]byte{"ca.crt": l.git.CA()}})
	return l
}

func (l *light) join() {
	ctx := l.t.Context()
	c := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: lightName, Labels: map[string]string{"stage": "production"}}}
	c.Spec.Owner, c.Spec.Accepted = "bench", true
	l.create(c)
	granted, err := l.hub.Fleet.Join(ctx, lightName, fleet.JoinRequest{})
	l.must(err)
	l.member = standin.New(standin.Options{Name: lightName, UID: types.UID("uid-of-" + lightName), Version: "v1.36.3", Nodes: 1})
	l.member.Interfere(func(r *http.Request) standin.Fault {
		if strings.HasPrefix(r.URL.Path, "/apis/coordination.k8s.io/") {
			l.leases.Add(1)
		} else {
			l.asked.Add(1)
		}
		return standin.Fault{}
	})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		err := agent.Run(ctx, agent.Options{
			Config: l.member.Config(), Version: "bench", Log: slog.New(slog.DiscardHandler),
			Bootstrap: ticket.Ticket{Cluster: lightName, Token: granted.Token, Address: granted.Address, Roots: granted.Roots},
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			l.t.Errorf("the agent ended: %v", err)
		}
	})
	l.t.Cleanup(func() {
		stop()
		running.Wait()
		l.member.Close()
	})
	l.until("the member is connected", func(ctx context.Context) error {
		o, err := l.hub.Fleet.Overview(ctx)
		if err == nil && o.Clusters.Connected != 1 {
			err = fmt.Errorf("%+v", o.Clusters)
		}
		return err
	})
}

func (l *light) create(o client.Object) {
	l.t.Helper()
	l.must(l.hub.Client.Create(l.t.Context(), o))
}

// follow makes applications that each follow a folder of the repository.
func (l *light) follow(n int, folder func(int) string, interval time.Duration) {
	l.t.Helper()
	var all errgroup.Group
	all.SetLimit(8)
	for i := range n {
		all.Go(func() error {
			return l.hub.Client.Create(l.t.Context(), following(chartName(i), l.git.URL(secretOf), folder(i), interval))
		})
	}
	l.must(all.Wait())
}

// following is an application of a folder of a repository, for all clusters.
func following(name, url, folder string, interval time.Duration) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name}}
	app.Spec.Namespace = project
	app.Spec.Source.Git = &v1alpha1.GitSource{
		URL: url, Ref: v1alpha1.GitRef{Branch: "main"}, Path: folder, SecretRef: &v1alpha1.SecretReference{Name: secretOf},
		Interval: &metav1.Duration{Duration: interval},
	}
	app.Spec.Placement = &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: label}}
	return app
}

// until waits a second between looks, which cost the hub something.
func (l *light) until(what string, ask func(context.Context) error) {
	l.t.Helper()
	last := errors.New("never asked")
	for limit := time.Now().Add(longPatience); last != nil; time.Sleep(time.Second) {
		if time.Now().After(limit) {
			l.t.Fatalf("still waiting for %s: %v", what, last)
		}
		last = ask(l.t.Context())
	}
}

// inSync is nil when the hub says that n applications are, with this commit.
func inSync(ctx context.Context, c client.Client, commit string, n, on int) error {
	var apps v1alpha1.ApplicationList
	if err := c.List(ctx, &apps, client.InNamespace(project)); err != nil {
		return err
	}
	well, last := 0, ""
	for i := range apps.Items {
		s := apps.Items[i].Status
		if s.Source != nil && s.Source.Commit != nil && s.Source.Commit.ID == "sha1:"+commit && s.Counts.Placed == int32(on) && s.Counts.InSync == int32(on) {
			well++
		} else {
			last = fmt.Sprintf("%s %+v %+v", apps.Items[i].Name, s.Counts, s.Conditions)
		}
	}
	if well < n {
		return fmt.Errorf("%d of %d are in sync; not so %s", well, n, last)
	}
	return nil
}
