package testfleet

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/sandbox"
)

// member is one cluster and its agent's process.
type member struct {
	spec    Cluster
	hub     *hubProcess
	cluster *sandbox.Cluster
	config  *rest.Config
	client  client.WithWatch
	dir     string
	agent   child
}

// Member is one cluster as one test sees it.
type Member struct {
	Name    string
	Sandbox *sandbox.Cluster
	Agent   *AgentProcess
	*member
	t testing.TB
}

// AgentProcess is the agent of a member.
type AgentProcess struct {
	child *child
	t     testing.TB
}

// addAll brings up the clusters; it joins nothing.
func (w *world) addAll(ctx context.Context, clusters []Cluster) error {
	if len(clusters) == 0 {
		return nil
	}
	specs := make([]sandbox.ClusterSpec, 0, len(clusters))
	for _, c := range clusters {
		specs = append(specs, c.Spec)
	}
	if err := w.sandbox.Up(ctx, specs); err != nil {
		return err
	}
	for _, c := range clusters {
		m, err := w.newMember(c)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.members[c.Spec.Name] = m
		w.mu.Unlock()
	}
	return nil
}

func (w *world) newMember(c Cluster) (*member, error) {
	name := c.Spec.Name
	cluster, err := w.sandbox.Cluster(name)
	if err != nil {
		return nil, err
	}
	m := &member{spec: c, hub: w.hub, cluster: cluster, dir: filepath.Join(w.dir, ".agents", name)}
	if m.config, err = cluster.RESTConfig(); err != nil {
		return nil, err
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	if m.client, err = client.NewWithWatch(m.config, client.Options{Scheme: scheme}); err != nil {
		return nil, fmt.Errorf("connect to cluster %s: %w", name, err)
	}
	path, err := Program("atoll-agent")
	m.agent = child{
		name: "the agent of " + name,
		path: path,
		log:  m.dir + ".log",
		args: []string{"run", "--kubeconfig", m.agentKubeconfig(), "--bootstrap", m.bootstrapDir(), "--proxy", cluster.State().ProxyURL()},
		env:  []string{clock.Variable + "=" + cluster.SkewPath()},
	}
	return m, err
}

func (w *world) member(name string) *member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.members[name]
}

// Member is the cluster of that name; the test fails if there is none.
func (f *Fleet) Member(name string) *Member {
	f.t.Helper()
	m := f.member(name)
	if m == nil {
		f.t.Fatalf("the test fleet has no member %q", name)
	}
	return &Member{Name: name, Sandbox: m.cluster, Agent: &AgentProcess{child: &m.agent, t: f.t}, member: m, t: f.t}
}

// Members are all clusters by name.
func (f *Fleet) Members() []*Member {
	f.t.Helper()
	f.mu.Lock()
	names := slices.Sorted(maps.Keys(f.members))
	f.mu.Unlock()
	members := make([]*Member, 0, len(names))
	for _, name := range names {
		members = append(members, f.Member(name))
	}
	return members
}

// Add brings up one more cluster, tied to the hub as its Mode says.
func (f *Fleet) Add(c Cluster) *Member {
	f.t.Helper()
	if err := f.addAll(f.t.Context(), []Cluster{c}); err != nil {
		f.t.Fatal(err)
	}
	m := f.Member(c.Spec.Name)
	if err := m.tie(f.t.Context(), c.Mode); err != nil {
		f.t.Fatal(err)
	}
	return m
}

// Down ends one cluster and its agent for good.
func (f *Fleet) Down(name string) {
	f.t.Helper()
	f.Member(name).Agent.Kill()
	if err := f.sandbox.Down(name); err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.members, name)
}

// Client is the member's API as its admin.
func (m *Member) Client() client.WithWatch { return m.client }

// Config is a fresh configuration of the member's admin.
func (m *Member) Config() *rest.Config { return rest.CopyConfig(m.config) }

// Join joins a member that is Alone and waits until it is connected.
func (m *Member) Join() {
	m.t.Helper()
	if err := m.tie(m.t.Context(), Agent); err != nil {
		m.t.Fatal(err)
	}
}

// JoinAs is Join, tied as the mode says, with more flags for `atoll join`.
func (m *Member) JoinAs(mode Mode, flags ...string) {
	m.t.Helper()
	m.spec.Join = flags
	if err := m.tie(m.t.Context(), mode); err != nil {
		m.t.Fatal(err)
	}
}

// Install registers the member under a name and installs its agent, which is
// neither started nor accepted yet.
func (m *Member) Install(name string) {
	m.t.Helper()
	if err := m.register(m.t.Context(), m.joining(name)); err != nil {
		m.t.Fatal(err)
	}
}

// BootstrapDir holds the files of the join ticket that the agent reads.
func (m *Member) BootstrapDir() string { return m.bootstrapDir() }

// Forget takes away the agent's keys and its store, as a new agent would find
// the member.
func (m *Member) Forget() {
	m.t.Helper()
	if err := m.forget(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

// Leave ends the agent and its traces, and removes the clusters of these names
// from the hub; those that it does not know are skipped.
func (m *Member) Leave(clusters ...string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.agent.end(syscall.SIGKILL); err != nil {
		m.t.Error(err)
	}
	for _, name := range clusters {
		err := m.hub.client.Delete(ctx, &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if client.IgnoreNotFound(err) != nil {
			m.t.Error(err)
		}
	}
	if err := m.forget(ctx); err != nil {
		m.t.Error(err)
	}
}

// Kill ends the agent as a power cut would.
func (a *AgentProcess) Kill() { a.t.Helper(); a.must(a.child.end(syscall.SIGKILL)) }

// Stop asks the agent to end, and waits for it.
func (a *AgentProcess) Stop() { a.t.Helper(); a.must(a.child.end(syscall.SIGTERM)) }

// Start starts the agent; it does not wait for it to connect.
func (a *AgentProcess) Start() { a.t.Helper(); a.must(a.child.start()) }

// Freeze halts the agent where it is, as a network that swallows everything
// would look to the hub; Thaw lets it go on.
func (a *AgentProcess) Freeze() { a.t.Helper(); a.must(a.child.send(syscall.SIGSTOP)) }

// Thaw ends Freeze.
func (a *AgentProcess) Thaw() { a.t.Helper(); a.must(a.child.send(syscall.SIGCONT)) }

// Running says whether the process lives.
func (a *AgentProcess) Running() bool { return a.child.alive() }

// PID is the process id, 0 when the agent does not run.
func (a *AgentProcess) PID() int { return a.child.pid() }

// LogPath is the file of the agent's words.
func (a *AgentProcess) LogPath() string { return a.child.log }

func (a *AgentProcess) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}
