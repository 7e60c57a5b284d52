package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"atoll.dev/atoll/internal/sandbox"
)

func run(args ...string) (code int, out, words string) {
	var stdout, stderr bytes.Buffer
	code = Main(args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestWrongInputIsOneSentenceAndAnExitCode(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "fleet.yaml")
	if err := os.WriteFile(bad, []byte("clusters: [{name: a, nods: 3}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"up", exitUsage, "name the clusters with --clusters a,b,c or -f fleet.yaml"},
		{"up --clusters Big", exitUsage, `cluster name "Big" must be a DNS label`},
		{"up --clusters a --nodes -3", exitUsage, "nodes must lie between 1 and"},
		{"up --clusters a --label stage", exitUsage, `label "stage" must be key=value`},
		{"up --clusters a --label stage=a/b", exitUsage, "value"},
		{"up --clusters a,a", exitFailed, "named twice"},
		{"up -f " + bad, exitUsage, "nods"},
		{"up -f " + dir + "/none", exitFailed, "no such file"},
		{"up a b", exitUsage, `does not know "a"`},
		{"fly", exitUsage, `"fly"`},
		{"list -o yaml", exitUsage, `output "yaml" must be table or json`},
		{"list --wide", exitUsage, "unknown flag: --wide"},
		{"kubeconfig", exitUsage, "takes the name of one cluster"},
		{"kubeconfig none", exitFailed, `no such cluster: "none"`},
		{"kubeconfig ../none", exitFailed, `no such cluster: "../none"`},
		{"down --clusters none", exitFailed, `no such cluster: "none"`},
		{"kill none --api", exitFailed, `no such cluster: "none"`},
		{"start none", exitFailed, `no such cluster: "none"`},
		{"kill none --all --api", exitFailed, `no such cluster: "none"`},
		{"pause none", exitFailed, `no such cluster: "none"`},
		{"resume none", exitFailed, `no such cluster: "none"`},
		{"partition none", exitFailed, `no such cluster: "none"`},
		{"slow none --latency 1s", exitFailed, `no such cluster: "none"`},
		{"slow none --latency much", exitUsage, "--latency"},
		{"heal none", exitFailed, `no such cluster: "none"`},
		{"heal", exitUsage, "heal takes the name of one cluster, or --all"},
		{"heal a --all", exitUsage, "heal takes the name of one cluster, or --all"},
		{"faults a", exitUsage, `does not know "a"`},
	} {
		code, out, words := run(append(strings.Fields(tc.args), "--dir", dir)...)
		if code != tc.code || !strings.Contains(words, tc.want) {
			t.Errorf("%s: exit %d, %q; want exit %d and %q", tc.args, code, words, tc.code, tc.want)
		}
		if out != "" {
			t.Errorf("%s: words on stdout: %q", tc.args, out)
		}
		if strings.Count(words, "\n") != 1 {
			t.Errorf("%s: not one sentence: %q", tc.args, words)
		}
	}
}

func TestNothingIsListedAndEndedWithoutComplaint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if code, out, _ := run("list", "-o", "json", "--dir", dir); code != exitOK || strings.TrimSpace(out) != "[]" {
		t.Errorf("list: exit %d, %q", code, out)
	}
	if code, _, words := run("down", "--dir", dir); code != exitOK {
		t.Errorf("down: exit %d, %q", code, words)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("looking created the directory: %v", err)
	}
}

func TestListShowsWhatRuns(t *testing.T) {
	fleet := sandbox.Start(t, "us-east-1")
	if err := fleet.Cluster("us-east-1").Kill(sandbox.Scheduler); err != nil {
		t.Fatal(err)
	}
	code, out, words := run("list", "-o", "json", "--dir", fleet.Dir())
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, words)
	}
	var items []listed
	if err := json.Unmarshal([]byte(out), &items); err != nil {
		t.Fatal(err)
	}
	got := items[0]
	running := map[string]bool{}
	for _, c := range got.Components {
		running[c.Name] = c.Running
	}
	want := map[string]bool{"etcd": true, "kube-apiserver": true, "kube-controller-manager": true, "kube-scheduler": false, "kwok": true}
	if diff := cmp.Diff(want, running); diff != "" || got.Status != sandbox.Degraded || got.Provider != sandbox.EKS {
		t.Errorf("%s %s (-want +got):\n%s", got.Status, got.Provider, diff)
	}
	code, config, words := run("kubeconfig", "us-east-1", "--dir", fleet.Dir())
	if code != exitOK || !strings.Contains(config, got.Server) {
		t.Errorf("kubeconfig: exit %d, %q, without %s", code, words, got.Server)
	}
	if info, err := os.Stat(got.Kubeconfig); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig has mode %v: %v", info.Mode(), err)
	}
}

func TestFaultsAreListedAndWrongOnesRefused(t *testing.T) {
	dir := sandbox.Start(t, "a").Dir()
	for args, want := range map[string]string{
		"partition a --from inside":     "--from \"inside\" must be hub, outside or both",
		"partition a --for 0s":          "--for 0s must be longer than nothing",
		"kill a --all --api":            "--all ends everything",
		"slow a":                        "say how slow",
		"slow a --bandwidth 1MB":        "--bandwidth \"1MB\" must be a number with kbit, Mbit or Gbit",
		"pause a --component kubelet":   "component \"kubelet\" must be one of",
		"slow a --latency 1s --for -3s": "--for -3s must be longer than nothing",
	} {
		if code, _, words := run(append(strings.Fields(args), "--dir", dir)...); code == exitOK || !strings.Contains(words, want) {
			t.Errorf("%s: exit %d, %q", args, code, words)
		}
	}
	for _, args := range []string{"partition a --from hub --for 1h", "slow a --latency 20ms --bandwidth 2Mbit", "slow a --latency 10ms"} {
		if code, _, words := run(append(strings.Fields(args), "--dir", dir)...); code != exitOK {
			t.Errorf("%s: exit %d, %q", args, code, words)
		}
	}
	for _, list := range []string{"faults", "list"} {
		_, out, _ := run(list, "--dir", dir)
		if !strings.Contains(out, "partitioned from hub until ") || !strings.Contains(out, "slowed latency 10ms") || strings.Contains(out, "20ms") {
			t.Errorf("%s shows %s", list, out)
		}
	}
	if code, _, words := run("heal", "--all", "--dir", dir); code != exitOK {
		t.Errorf("heal: exit %d, %q", code, words)
	}
	if _, out, _ := run("faults", "--dir", dir); strings.Contains(out, "slowed") || strings.Contains(out, "partitioned") {
		t.Errorf("after all is healed: %s", out)
	}
}

func TestWhoWaitsForAnotherCommandIsTold(t *testing.T) {
	dir := t.TempDir()
	other, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	go func() {
		Main([]string{"down", "--dir", dir}, io.Discard, write)
		write.Close()
	}()
	lines := bufio.NewScanner(read)
	if !lines.Scan() || !strings.Contains(lines.Text(), "another command is changing the clusters in "+dir) {
		t.Errorf("it says %q", lines.Text())
	}
	other.Close()
	if !lines.Scan() || lines.Text() != "down" {
		t.Errorf("and then %q", lines.Text())
	}
}

func TestFlagsWinOverTheFleetFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fleet.yaml")
	content := "clusters:\n- {name: us-east-1, nodes: 3, labels: {stage: production, team: a}}\n- {name: edge, provider: gke, region: europe-west1}\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := upFlags{file: file, nodes: 5, labels: []string{"team=b"}}.specs()
	if err != nil {
		t.Fatal(err)
	}
	want := []sandbox.ClusterSpec{
		{Name: "us-east-1", Nodes: 5, NodeLabels: map[string]string{"stage": "production", "team": "b"}},
		{Name: "edge", Nodes: 5, Provider: sandbox.GKE, Region: "europe-west1", NodeLabels: map[string]string{"team": "b"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseFleet(f *testing.F) {
	f.Add([]byte("clusters: [{name: us-east-1, nodes: 3, zones: [a], labels: {stage: production}}]"))
	f.Add([]byte("clusters: []"))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		specs, err := parseFleet(data)
		if err != nil {
			return
		}
		for _, spec := range specs {
			if err := spec.Validate(); err != nil {
				t.Errorf("accepted, and invalid: %v", err)
			}
		}
	})
}
