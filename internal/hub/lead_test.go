package hub

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
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
	o.Listen, o.AgentListen, o.Heartbeat, o.Log = "127.0.0.1:0", "127.0.0.1:0", 200*time.Millisecond, slog.New(slog.DiscardHandler)
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
	b.eventually("the second hub says who leads", func() error {
		_, err := f.Overview(t.Context())
		if err == nil {
			t.Fatal("a standby answers for the fleet")
		}
		if host, _ := os.Hostname(); !strings.Contains(err.Error(), "stands by") || !strings.Contains(err.Error(), host+"_") {
			return err
		}
		return nil
	})

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

func storedTerm(t *testing.T, w *world) uint64 {
	t.Helper()
	o, err := w.fleet.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o.Hub.Term
}

func TestALeaderWhoseLeaseIsTakenStops(t *testing.T) {
	b := hubOf(t)
	kube, err := kubernetesFor(b.config)
	b.must(err)
	c := &candidate{kube: kube, identity: "one", following: func(string) {}}
	began := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- c.lead(t.Context(), func(ctx context.Context) error {
			close(began)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	<-began
	other := &candidate{kube: kube, identity: "other", following: func(string) {}}
	if err := other.check(t.Context(), b.client); err == nil || !strings.Contains(err.Error(), "hub one leads") {
		t.Errorf("another without shared content: %v", err)
	}
	lock := other.config(nil).Lock
	b.eventually("the Lease is another's", func() error {
		record, _, err := lock.Get(t.Context())
		if err != nil {
			return err
		}
		record.HolderIdentity = "other"
		return lock.Update(t.Context(), *record)
	})
	if err := <-ended; !errors.Is(err, errLostLease) {
		t.Errorf("it ended with %v", err)
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
		"--content oci://h/r is not a directo": {"--content", "oci://h/r"},
	} {
		cmd := Command()
		cmd.SetArgs(append(args, "--data-dir", t.TempDir()))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
