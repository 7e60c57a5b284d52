package hub

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/link"
	"atoll.dev/atoll/internal/render/worker"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/trust"
	"atoll.dev/atoll/internal/wire"
)

// patience is far beyond what anything here takes on an idle machine.
const patience = 2 * time.Minute

// The one hub of this package, complete and in this process; each test has its
// own project and clusters.
var (
	starting sync.Once
	theHub   *world
	// alertmanager is told what the hub alerts of.
	alertmanager = newAlertReceiver()
	startErr     error
)

type world struct {
	config *rest.Config
	client client.Client
	fleet  *fleet.Client
	ready  Ready
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == worker.Verb {
		os.Exit(worker.Serve(os.Stdin, os.Stdout)) // the hub renders in processes of its own program
	}
	dir, err := os.MkdirTemp("", "hub")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	running = func() (*world, error) {
		ready := make(chan Ready, 1)
		go func() {
			ended <- Run(ctx, Options{
				DataDir: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", AgentListen: "127.0.0.1:0",
				Alertmanagers: []string{alertmanager.URL}, AlertEvery: 200 * time.Millisecond,
				SourceAllow: []string{"127.0.0.0/8"}, Heartbeat: 200 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
			}, func(r Ready) { ready <- r })
		}()
		select {
		case r := <-ready:
			return open(r)
		case err := <-ended:
			ended <- err
			return nil, errors.Join(errors.New("the hub ended before it was ready"), err)
		}
	}
	code := m.Run()
	stop()
	if theHub != nil {
		if err := <-ended; err != nil {
			fmt.Fprintln(os.Stderr, "the hub ended with", err)
			code = 1
		}
	}
	_ = os.RemoveAll(dir) // a temporary directory
	os.Exit(code)
}

var running func() (*world, error)

func open(r Ready) (*world, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", r.AdminKubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	f, err := fleet.NewClient(cfg)
	return &world{config: cfg, client: c, fleet: f, ready: r}, err
}

// hubOf is the package's hub, for one test.
func hubOf(t *testing.T) *bench {
	t.Helper()
	starting.Do(func() { theHub, startErr = running() })
	if startErr != nil {
		t.Fatal(startErr)
	}
	return &bench{T: t, world: theHub}
}

type bench struct {
	*testing.T
	*world
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) create(o client.Object) { b.Helper(); b.must(b.client.Create(b.Context(), o)) }

func (b *bench) eventually(what string, ask func() error) {
	b.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s: %v", what, err)
		}
	}
}

func (b *bench) cluster(name string) *v1alpha1.Cluster {
	b.Helper()
	c := &v1alpha1.Cluster{}
	b.must(b.client.Get(b.Context(), client.ObjectKey{Name: name}, c))
	return c
}

func (b *bench) app(project, name string) *v1alpha1.Application {
	b.Helper()
	app := &v1alpha1.Application{}
	b.must(b.client.Get(b.Context(), client.ObjectKey{Namespace: project, Name: name}, app))
	return app
}

// register makes a Cluster that is accepted, with the labels given.
func (b *bench) register(name string, labels map[string]string) {
	b.Helper()
	c := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	c.Spec.Owner, c.Spec.Accepted = "team", true
	b.create(c)
}

func (b *bench) project(name string) {
	b.Helper()
	b.create(&v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: name}})
	b.eventually("project "+name, func() error {
		p := &v1alpha1.Project{}
		if err := b.client.Get(b.Context(), client.ObjectKey{Name: name}, p); err != nil {
			return err
		}
		if len(p.Status.Conditions) == 0 {
			return errors.New("not ready")
		}
		return nil
	})
}

const manifest = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: %q}}"

func (b *bench) deploy(project, name, selector string, onDelete v1alpha1.DeletionPolicy) {
	b.Helper()
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name}}
	app.Spec.Source.Inline = fmt.Sprintf(manifest, name)
	app.Spec.Placement = &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: selector}}
	app.Spec.OnDelete = onDelete
	b.create(app)
	if guarded := slices.Contains(app.Finalizers, v1alpha1.FinalizerWithdraw); guarded != (onDelete == v1alpha1.Delete) {
		b.Errorf("application %s with onDelete: %s is written with the finalizers %q", name, onDelete, app.Finalizers)
	}
}

// member is an agent as bare as the wire, with a real identity.
type member struct {
	*bench
	name, uid string
	trust     *trust.Client
	link      *link.Session
	got       chan wire.Message
	stamp     wire.Stamp
	root      desired.Root
	states    map[desired.Key]report.State
	quiet     atomic.Bool // no heartbeats
}

type keyStore struct {
	mu   sync.Mutex
	data map[string][]byte
}

func (k *keyStore) Load(context.Context) (trust.Identity, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return trust.ParseIdentity(k.data)
}

func (k *keyStore) Save(_ context.Context, id trust.Identity) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	data, err := id.Data()
	k.data = data
	return err
}

// agent is a member that has not joined yet.
func (b *bench) agent(name, uid string, roots string) *member {
	b.Helper()
	var pinned trust.Roots
	b.must(json.Unmarshal([]byte(roots), &pinned))
	c, err := trust.OpenClient(b.Context(), trust.ClientConfig{
		Store: &keyStore{}, Cluster: name, ClusterUID: uid, Roots: pinned, AgentVersion: "v0",
		NewSealingKey: func() ([]byte, string, error) {
			key, err := seal.NewKey()
			if err != nil {
				return nil, "", err
			}
			private, err := key.Bytes()
			return private, key.Public(), err
		},
		Connect: func(roots func() *x509.CertPool) *http.Client {
			return link.RenewClient(link.DialConfig{Address: b.ready.Agents, Roots: roots})
		},
		Log: slog.New(slog.DiscardHandler),
	})
	b.must(err)
	return &member{bench: b, name: name, uid: uid, trust: c, states: map[desired.Key]report.State{}}
}

func (b *bench) ticket(name string) *fleet.JoinTicket {
	b.Helper()
	t, err := b.fleet.Join(b.Context(), name, fleet.JoinRequest{})
	b.must(err)
	return t
}

// joined registers, joins and links a cluster.
func (b *bench) joined(name string, labels map[string]string) *member {
	b.Helper()
	b.register(name, labels)
	ticket := b.ticket(name)
	m := b.agent(name, "uid-of-"+name, ticket.Roots)
	b.must(m.trust.Join(b.Context(), ticket.Token))
	m.connect()
	return m
}

func (m *member) connect() {
	m.Helper()
	s, err := link.Dial(m.Context(), link.DialConfig{
		Address: m.ready.Agents, Roots: m.trust.Roots, GetClientCertificate: m.trust.GetClientCertificate,
	})
	m.must(err)
	m.Cleanup(func() { s.Close(nil) })
	m.link, m.got = s, make(chan wire.Message, 1000)
	m.must(s.Send(m.Context(), wire.Message{Stamp: wire.Stamp{Incarnation: "none"}, Hello: &wire.Hello{
		Cluster: m.name, ClusterUID: m.uid, MinVersion: wire.MinVersion, MaxVersion: wire.Version, Desired: m.root.Digest(),
	}}))
	first, err := s.Recv(m.Context())
	m.must(err)
	if first.Welcome == nil {
		m.Fatalf("not welcome: %+v", first.Refusal)
	}
	m.stamp = first.Stamp
	go func() {
		defer close(m.got)
		for {
			got, err := s.Recv(context.Background())
			if err != nil {
				return
			}
			if got.Desired != nil { // the rest is not what these tests are about
				m.got <- got
			}
		}
	}()
	m.say()
	go m.beat(s)
}

// beat is what keeps the cluster connected.
func (m *member) beat(s *link.Session) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.Done():
			return
		case <-tick.C:
			if m.quiet.Load() {
				continue
			}
			_ = s.Send(context.Background(), wire.Message{Stamp: m.stamp, Heartbeat: &wire.Heartbeat{At: time.Now().UnixMilli()}})
		}
	}
}

// until applies what the hub says until the root is as it should be.
func (m *member) until(what string, is func(desired.Root) bool) {
	m.Helper()
	late := time.After(patience)
	for !is(m.root) {
		select {
		case got, ok := <-m.got:
			if !ok {
				m.Fatalf("%s: the link ended: %v", what, m.link.Err())
			}
			root, err := got.Desired.Delta.Apply(m.root)
			m.must(err)
			m.root = root
		case <-late:
			m.Fatalf("%s does not come; the root is %+v", what, m.root.Entries)
		}
	}
}

// say reports everything, whole.
func (m *member) say() {
	m.Helper()
	r := report.Report{Full: true, Digest: report.Digest(m.states)}
	for _, s := range m.states {
		r.States = append(r.States, s)
	}
	m.must(m.link.Send(m.Context(), wire.Message{Stamp: m.stamp, Report: &wire.Report{Report: r}}))
}

// reports sets the state of an application for the entry that it has now.
func (m *member) reports(key desired.Key, sync report.Sync, health report.Health) {
	m.Helper()
	e, _ := m.root.Get(key)
	m.states[key] = report.State{Key: key, Entry: e.Digest(), Sync: sync, Health: health}
	m.say()
}
