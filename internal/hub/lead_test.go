package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/apiserver/pki"
	"atoll.dev/atoll/internal/fleet"
)

// externalEtcd is a store that several hubs share.
func externalEtcd(t *testing.T) apiserver.ExternalEtcd {
	t.Helper()
	config := embed.NewConfig()
	config.Dir = filepath.Join(t.TempDir(), "data")
	config.ListenClientUrls[0].Host = "127.0.0.1:0"
	config.ListenPeerUrls = nil
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.EnableGRPCGateway = false
	config.LogLevel, config.UnsafeNoFsync = "panic", true
	server, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	<-server.Server.ReadyNotify()
	return apiserver.ExternalEtcd{Servers: []string{"http://" + server.Clients[0].Addr().String()}, Prefix: "/atoll"}
}

// replica is one of several hubs.
type replica struct {
	stop    context.CancelFunc
	leading chan Ready
	ended   chan error
}

func begin(t *testing.T, o Options) *replica {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &replica{stop, make(chan Ready, 1), make(chan error, 1)}
	o.AgentListen = cmp.Or(o.AgentListen, "127.0.0.1:0")
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	o.Heartbeat, o.Log = 200*time.Millisecond, slog.New(slog.DiscardHandler)
	go func() { r.ended <- Run(ctx, o, func(ready Ready) { r.leading <- ready }) }()
	t.Cleanup(func() { stop(); <-r.ended })
	return r
}

func (r *replica) leads(t *testing.T) *world {
	t.Helper()
	select {
	case ready := <-r.leading:
		w, err := open(ready)
		if err != nil {
			t.Fatal(err)
		}
		return w
	case err := <-r.ended:
		r.ended <- err
		t.Fatalf("the hub ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the hub does not lead")
	}
	return nil
}

func TestOneOfTheHubsThatShareAStoreLeads(t *testing.T) {
	shared := Options{Etcd: externalEtcd(t), Keys: t.TempDir(), Content: t.TempDir()}
	with := func(dir string) Options { o := shared; o.DataDir = dir; return o }
	firstDir, secondDir := t.TempDir(), t.TempDir()
	first := begin(t, with(firstDir))
	leader := first.leads(t)
	before := storedTerm(t, leader)

	second := begin(t, with(secondDir))
	b := &bench{T: t, world: leader}
	var standby *rest.Config
	b.eventually("the second hub answers", func() (err error) {
		standby, err = clientcmd.BuildConfigFromFlags("", filepath.Join(secondDir, "admin.kubeconfig"))
		return err
	})
	f, err := fleet.NewClient(standby)
	b.must(err)
	b.eventually("the second hub passes calls on", func() error {
		o, err := f.Overview(t.Context())
		if err == nil && o.Hub.Term != before {
			err = fmt.Errorf("it is term %d", o.Hub.Term)
		}
		return err
	})
	b.namesAreTakenFromHubsAlone(standby, shared.Keys)
	b.goesNoFurther(f, standby)

	alone := with(t.TempDir())
	alone.Content = ""
	third := begin(t, alone)
	err = <-third.ended
	third.ended <- nil
	if err == nil || !strings.Contains(err.Error(), "more than one hub needs content that they share") {
		t.Errorf("a hub with content of its own beside others: %v", err)
	}

	b.project("shared")
	first.stop()
	err = <-first.ended
	first.ended <- nil
	b.must(err)
	next := second.leads(t)
	if after := storedTerm(t, next); after != before+1 {
		t.Errorf("the term went from %d to %d", before, after)
	}
	b = &bench{T: t, world: next}
	o, err := next.fleet.Overview(t.Context())
	b.must(err)
	if o.Hub.Storage != "etcd" {
		t.Errorf("its storage is %q", o.Hub.Storage)
	}
	b.must(next.client.Get(t.Context(), client.ObjectKey{Name: "shared"}, &v1alpha1.Project{}))
	if _, err := leader.fleet.Overview(t.Context()); err == nil {
		t.Error("the hub that ended still answers")
	}
}

// namesAreTakenFromHubsAlone: who calls a standby is the same at the leader, and
// nobody becomes another by a header.
func (b *bench) namesAreTakenFromHubsAlone(standby *rest.Config, keys string) {
	b.Helper()
	asDana := rest.CopyConfig(standby)
	asDana.Impersonate = rest.ImpersonationConfig{UserName: "dana", Groups: []string{"developers"}}
	dana, err := fleet.NewClient(asDana)
	b.must(err)
	if _, err := dana.Overview(b.Context()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `"dana"`) {
		b.Errorf("dana, without a right: %v", err)
	}
	b.create(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "look"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{fleet.GroupVersion.Group}, Resources: []string{"overview"}, Verbs: []string{"get", "list"},
	}}})
	b.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "look"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "look"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "developers"}},
	})
	b.eventually("dana may look, by her group", func() error { _, err := dana.Overview(b.Context()); return err })

	authority, err := pki.OpenAuthority(keys, "ca", "")
	b.must(err)
	cert, key, err := authority.Issue(pki.Leaf{CommonName: "mallory", Lifetime: time.Hour})
	b.must(err)
	for which, config := range map[string]*rest.Config{"the leader": b.config, "the standby": standby} {
		forged := rest.AnonymousClientConfig(config)
		forged.CertData, forged.KeyData = cert, key
		forged.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				r = r.Clone(r.Context())
				transport.SetAuthProxyHeaders(r, "atoll-admin", "", []string{apiserver.AdminGroup, "system:masters"}, nil)
				return next.RoundTrip(r)
			})
		})
		mallory, err := fleet.NewClient(forged)
		b.must(err)
		if _, err := mallory.Overview(b.Context()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `"mallory"`) {
			b.Errorf("a forged name is asked for at %s: %v", which, err)
		}
	}
}

// goesNoFurther has the standby believe that it is where the leader is, as after
// a change of leaders.
func (b *bench) goesNoFurther(f *fleet.Client, standby *rest.Config) {
	b.Helper()
	record := &corev1.ConfigMap{}
	b.must(b.client.Get(b.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: recordName}, record))
	address := record.Data["address"]
	leadTo := func(address string) {
		record.Data["address"] = address
		b.must(b.client.Update(b.Context(), record))
	}
	leadTo(strings.TrimPrefix(standby.Host, "https://"))
	b.eventually("a call that goes in a circle is ended", func() error {
		_, err := f.Overview(b.Context())
		if err == nil || !strings.Contains(err.Error(), "goes no further") {
			return fmt.Errorf("it got %v", err)
		}
		return nil
	})
	leadTo("127.0.0.1:1")
	if _, err := f.Overview(b.Context()); err == nil || !strings.Contains(err.Error(), "does not answer at 127.0.0.1:1") {
		b.Errorf("with a leader that is away: %v", err)
	}
	leadTo(address)
	_, err := f.Overview(b.Context())
	b.must(err)
}

func storedTerm(t *testing.T, w *world) uint64 {
	t.Helper()
	o, err := w.fleet.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o.Hub.Term
}

// leading is a candidate that leads until its context ends.
type leading struct {
	*candidate
	began chan struct{}
	ended chan error
}

func (b *bench) leadAs(ctx context.Context, identity string, shared bool) *leading {
	b.Helper()
	kube, err := kubernetes.NewForConfig(b.config)
	b.must(err)
	l := &leading{newCandidate(kube, v1alpha1.SystemNamespace, identity, shared, func(string) {}), make(chan struct{}), make(chan error, 1)}
	b.Cleanup(func() {
		err := b.client.Delete(context.Background(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: recordName}})
		if client.IgnoreNotFound(err) != nil {
			b.Error(err)
		}
	})
	go func() {
		l.ended <- l.lead(ctx, func(ctx context.Context) error {
			close(l.began)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	return l
}

// hand makes holder the Lease's, as if it had run out and been taken.
func (b *bench) hand(holder string) {
	b.Helper()
	kube, err := kubernetes.NewForConfig(b.config)
	b.must(err)
	lock := newCandidate(kube, v1alpha1.SystemNamespace, "test", true, nil).tenure.Interface
	b.eventually("the Lease is handed on", func() error {
		record, _, err := lock.Get(b.Context())
		if err != nil {
			return err
		}
		record.HolderIdentity = holder
		return lock.Update(b.Context(), *record)
	})
}

func TestALeaderWhoseLeaseIsTakenStops(t *testing.T) {
	b := hubOf(t)
	one := b.leadAs(t.Context(), "one", false)
	<-one.began
	if err := newCandidate(one.kube, v1alpha1.SystemNamespace, "other", false, nil).check(t.Context(), b.client); err == nil || !strings.Contains(err.Error(), "hub one leads") {
		t.Errorf("another without shared content: %v", err)
	}
	b.hand("other")
	if err := <-one.ended; !errors.Is(err, errLostLease) {
		t.Errorf("it ended with %v", err)
	}
}

// A process may be frozen while another leads and gives the Lease up again. What
// it knows is old then, and its term is below the other's.
func TestALeaderDoesNotGoOnAfterAnotherLedMeanwhile(t *testing.T) {
	b := hubOf(t)
	one := b.leadAs(t.Context(), "one", true)
	<-one.began
	b.hand("")
	if err := <-one.ended; !errors.Is(err, errLostLease) {
		t.Errorf("it ended with %v", err)
	}
}

func TestWhoCannotSeeTheLeadersContentDoesNotStandBy(t *testing.T) {
	b := hubOf(t)
	one := b.leadAs(t.Context(), "one", false)
	<-one.began
	// Without the check before, as of two that began at once.
	two := b.leadAs(t.Context(), "two", false)
	if err := <-two.ended; err == nil || !strings.Contains(err.Error(), "hub one leads this store") {
		t.Errorf("it ended with %v", err)
	}
}

func TestWhatALeaderCannotHoldIsNotWritten(t *testing.T) {
	b := hubOf(t)
	one := b.leadAs(t.Context(), "one", true)
	config := rest.CopyConfig(b.config)
	config.Wrap(one.tenure.fence)
	fenced, err := client.New(config, client.Options{Scheme: b.client.Scheme()})
	b.must(err)
	write := func(name string) error {
		return fenced.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
	}
	<-one.began
	b.must(write("leading"))

	for what, change := range map[string]func(time.Time) time.Time{
		"frozen past its deadline":         func(at time.Time) time.Time { return at.Add(-renewDeadline) },
		"suspended, by the wall clock":     func(at time.Time) time.Time { return at.Round(0).Add(-renewDeadline) },
		"not renewed since long, restored": func(time.Time) time.Time { return time.Unix(1, 0) },
	} {
		stale := &tenure{renewed: change(time.Now())}
		if stale.holds() {
			t.Errorf("%s: it may write", what)
		}
	}
	b.hand("other")
	if err := <-one.ended; !errors.Is(err, errLostLease) {
		t.Errorf("it ended with %v", err)
	}
	if err := write("overtaken"); !errors.Is(err, errLostLease) {
		t.Errorf("a write after the Lease was lost: %v", err)
	}
	b.must(fenced.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "leading"}, &corev1.ConfigMap{}))
}

func TestALeaseIsNotGivenUpWhileItsLeaderWorks(t *testing.T) {
	b := hubOf(t)
	one := b.leadAs(t.Context(), "one", true)
	<-one.began
	// As the elector does when it could not renew in time.
	record, _, err := one.tenure.Get(t.Context())
	b.must(err)
	record.HolderIdentity = ""
	if err := one.tenure.Update(t.Context(), *record); !errors.Is(err, errLostLease) {
		t.Errorf("given up: %v", err)
	}
}

func TestAHubIsTheSameReplicaAfterARestartAndAnotherWhenCopied(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	name := func(dir string) string {
		t.Helper()
		n, err := replicaName(dir)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := name(dir)
	if name(dir) != first {
		t.Error("a restart gives it another name")
	}
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if name(copied) == first {
		t.Error("a copy has the same name")
	}
}

func TestFlagsThatDoNotFitAreRefused(t *testing.T) {
	for want, args := range map[string][]string{
		"add --etcd-servers":                   {"--etcd-cafile", "x"},
		"--content s3://h/r is not a director": {"--content", "s3://h/r"},
		"it has a fragment":                    {"--content", "oci://h/r#x"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience) // a hub that starts all the same is ended
		defer cancel()
		cmd := Command()
		cmd.SetArgs(append(args, "--data-dir", t.TempDir()))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.ExecuteContext(ctx); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
