package sandbox_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/internal/sandbox"
)

func TestVersionIsThatOfTheRelease(t *testing.T) {
	client, _ := member(t)
	got, err := client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(module)); got.GitVersion != want || got.Minor != "36" {
		t.Errorf("version is %s, minor %s; want %s, minor 36", got.GitVersion, got.Minor, want)
	}
}

func TestClustersOfOneFleetDoNotTrustEachOther(t *testing.T) {
	fleet := sandbox.Start(t, "a", "b")
	a, b := fleet.Cluster("a"), fleet.Cluster("b")
	if a.State().PodCIDR() == b.State().PodCIDR() || a.State().ServiceCIDR() == b.State().ServiceCIDR() {
		t.Errorf("address ranges overlap: %+v %+v", a.State(), b.State())
	}
	config, err := a.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}

	wrongServer := *config
	wrongServer.Host = other.Host
	_, err = kubernetes.NewForConfigOrDie(&wrongServer).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
		t.Errorf("a's authority vouches for b's server: %v", err)
	}

	wrongClient := wrongServer
	wrongClient.CAData = other.CAData
	_, err = kubernetes.NewForConfigOrDie(&wrongClient).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsUnauthorized(err) {
		t.Errorf("b answers a's admin with %v, want Unauthorized", err)
	}
}

func TestUpTwiceLeavesARunningClusterAlone(t *testing.T) {
	fleet := sandbox.Start(t, "a")
	before := fleet.Cluster("a").State()
	if err := fleet.Up(t.Context(), []sandbox.ClusterSpec{{Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, fleet.Cluster("a").State()); diff != "" {
		t.Errorf("a second up changed the cluster (-before +after):\n%s", diff)
	}
	err := fleet.Up(t.Context(), []sandbox.ClusterSpec{{Name: "a", Nodes: 7}})
	if err == nil || !strings.Contains(err.Error(), "exists with nodes 2, not 7") {
		t.Errorf("another size is answered with %v", err)
	}
}

func TestObjectsAndPortsSurviveAKill(t *testing.T) {
	fleet := sandbox.Start(t, "a")
	cluster := fleet.Cluster("a")
	client := clientOf(t, cluster)
	keep := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "keep"}, Data: map[string]string{"it": "stays"}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), keep, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// What leads a cluster begins anew when its API server does.
	anew := map[string][]string{sandbox.APIServer: {sandbox.ControllerManager, sandbox.Scheduler}}
	for _, victims := range [][]string{{sandbox.APIServer}, {sandbox.Etcd}, {sandbox.Kwok}, nil} {
		name := strings.Join(victims, "+")
		before := fleet.Cluster("a").State().Processes
		if err := cluster.Kill(victims...); err != nil {
			t.Fatal(err)
		}
		want := sandbox.Degraded
		if victims == nil {
			want, name = sandbox.Stopped, "everything"
		}
		if got := fleet.Cluster("a").Status(); got != want {
			t.Errorf("after killing %s the cluster is %s, want %s", name, got, want)
		}
		if err := cluster.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for component, process := range fleet.Cluster("a").State().Processes {
			isNew := victims == nil || component == victims[0] || slices.Contains(anew[victims[0]], component)
			if isNew == (process == before[component]) {
				t.Errorf("after killing %s: %s was %+v and is %+v", name, component, before[component], process)
			}
		}
		got, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "keep", metav1.GetOptions{})
		if err != nil || got.Data["it"] != "stays" {
			t.Errorf("after killing %s: %v, %v", name, got, err)
		}
		// Somebody still runs pods, and nobody deals out an address twice.
		pod := createPod(t, client, "default", "metadata: {generateName: after-}\nspec: {containers: [{name: c, image: \"c:1\"}]}")
		podBecomes(t, client, pod, "is ready after killing "+name, ready)
	}
	pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	addresses := map[string]bool{}
	for _, pod := range pods.Items {
		addresses[pod.Status.PodIP] = true
	}
	if len(addresses) != len(pods.Items) {
		t.Errorf("%d pods share %d addresses", len(pods.Items), len(addresses))
	}
	if err := cluster.Kill("kube-apisrver"); err == nil {
		t.Error("a component that does not exist was killed")
	}
}

func TestDownEndsOnlyItsOwn(t *testing.T) {
	fleet := sandbox.Start(t, "a", "b")
	bystander := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { bystander.Process.Kill(); bystander.Wait() }()

	// As after a restart of the machine: the recorded id is now another's.
	path := filepath.Join(fleet.Dir(), "b", "state.json")
	state, err := sandbox.ReadState(path)
	if err != nil {
		t.Fatal(err)
	}
	real := state.Processes[sandbox.Kwok]
	forged := real
	forged.PID = bystander.Process.Pid
	replaceProcess(t, path, real, forged)
	if err := fleet.Down("b"); err != nil {
		t.Fatal(err)
	}
	if err := bystander.Process.Signal(nullSignal); err != nil {
		t.Errorf("down ended a process that is not its own: %v", err)
	}
	if _, err := os.Stat(filepath.Join(fleet.Dir(), "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the files of b remain: %v", err)
	}
	if got := fleet.Cluster("a").Status(); got != sandbox.Running {
		t.Errorf("a is %s after b was ended", got)
	}
	for name, process := range state.Processes {
		if name != sandbox.Kwok && process.Alive() {
			t.Errorf("%s of b still runs", name)
		}
	}
	if err := fleet.Down("b"); !errors.Is(err, sandbox.ErrNoCluster) {
		t.Errorf("down of an ended cluster says %v", err)
	}
}

func TestClustersDieWithAKilledTest(t *testing.T) {
	if os.Getenv("SANDBOX_TEST_OWNER") != "" {
		fleet := sandbox.Start(t, "orphan")
		os.Stdout.WriteString("READY " + fleet.Dir() + "\n")
		<-t.Context().Done()
		return
	}
	sandbox.Shared(t, "us-east-1") // skips without the binary
	owner := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClustersDieWithAKilledTest$", "-test.v")
	owner.Env = append(os.Environ(), "SANDBOX_TEST_OWNER=1")
	output, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	lines := bufio.NewScanner(output)
	for dir == "" && lines.Scan() {
		dir, _ = strings.CutPrefix(lines.Text(), "READY ")
		if !strings.HasPrefix(lines.Text(), "READY ") {
			dir = ""
		}
	}
	state, err := sandbox.ReadState(filepath.Join(dir, "orphan", "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	owner.Process.Kill()
	owner.Wait()
	eventually(t, "the orphans are gone", func(context.Context) error {
		for name, process := range state.Processes {
			if process.Alive() {
				return errors.New(name + " still runs")
			}
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return errors.New("its files remain")
		}
		return nil
	})
}

// nullSignal only asks whether a process is there.
const nullSignal = syscall.Signal(0)

func replaceProcess(t *testing.T, path string, old, new sandbox.Process) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprintf("\"pid\": %d,", old.PID)
	if !strings.Contains(string(data), before) {
		t.Fatalf("%s does not record process %d", path, old.PID)
	}
	after := strings.Replace(string(data), before, fmt.Sprintf("\"pid\": %d,", new.PID), 1)
	if err := os.WriteFile(path, []byte(after), 0o600); err != nil {
		t.Fatal(err)
	}
}
