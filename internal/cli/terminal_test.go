package cli_test

import (
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"k8s.io/client-go/tools/clientcmd"
)

// patience bounds every wait; it is far more than anything needs.
const patience = time.Minute

// session is `atoll` on a terminal of its own.
type session struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	gone chan struct{}

	mu     sync.Mutex
	output strings.Builder
	news   chan struct{}
}

func onTerminal(t *testing.T, kubeconfig string, columns uint16, args ...string) *session {
	t.Helper()
	s := &session{t: t, cmd: atoll(t, kubeconfig, args...), gone: make(chan struct{}), news: make(chan struct{}, 1)}
	var err error
	if s.tty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	go s.read()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended
		<-s.gone
		s.tty.Close()
	})
	return s
}

// atoll is the program under test, which this test's main put into PATH.
func atoll(t *testing.T, kubeconfig string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "atoll", args...)
	cmd.Env = append(os.Environ(), "ATOLL_KUBECONFIG="+kubeconfig, "HOME="+t.TempDir())
	return cmd
}

// read ends with the error that a terminal gives when its program is gone.
func (s *session) read() {
	defer close(s.gone)
	buffer := make([]byte, 4096)
	for {
		n, err := s.tty.Read(buffer)
		s.mu.Lock()
		s.output.Write(buffer[:n])
		s.mu.Unlock()
		select {
		case s.news <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (s *session) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.String()
}

func (s *session) expect(what string) {
	s.t.Helper()
	s.expectSince(0, what)
}

func (s *session) expectSince(mark int, what string) {
	s.t.Helper()
	for late := time.After(patience); !strings.Contains(s.text()[mark:], what); {
		select {
		case <-s.news:
		case <-late:
			s.t.Fatalf("%q never came; on the terminal:\n%q", what, s.text())
		}
	}
}

func (s *session) press(keys string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// ends waits for the end and checks the exit code.
func (s *session) ends(code int) {
	s.t.Helper()
	select {
	case <-s.gone:
	case <-time.After(patience):
		s.t.Fatalf("%v does not end; on the terminal:\n%q", s.cmd.Args, s.text())
	}
	if got := exitCode(s.t, s.cmd.Wait()); got != code {
		s.t.Errorf("%v: exit code %d, not %d; on the terminal:\n%q", s.cmd.Args, got, code, s.text())
	}
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	exit := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return 0
	}
	return exit.ExitCode()
}

const (
	ctrlC = "\x03"
	ctrlD = "\x04"
)

// cluster makes a Cluster whose agent never comes.
func cluster(t *testing.T, kubeconfig, name string) {
	t.Helper()
	cmd := atoll(t, kubeconfig, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader("apiVersion: atoll.dev/v1alpha1\nkind: Cluster\nmetadata: {name: " + name + "}\nspec: {owner: tests}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func exists(t *testing.T, kubeconfig, name string) bool {
	t.Helper()
	return atoll(t, kubeconfig, "get", "cluster/"+name).Run() == nil
}

func TestOnlyTheRightNameRemovesACluster(t *testing.T) {
	admin := hubKubeconfig(t)
	cluster(t, admin, "keep-me")
	for name, c := range map[string]struct {
		keys, says string
		code       int
	}{
		"a wrong name": {"keep-you\n", "that is not the name; nothing was changed", 2},
		"no name":      {"\n", "that is not the name; nothing was changed", 2},
		"Ctrl-D":       {ctrlD, "nothing was changed", 2},
		"Ctrl-C":       {ctrlC, "", 130},
	} {
		t.Run(name, func(t *testing.T) {
			s := onTerminal(t, admin, 80, "remove", "keep-me")
			s.expect(" to go on: ")
			s.press(c.keys)
			s.ends(c.code)
			s.expect(c.says)
			if !exists(t, admin, "keep-me") {
				t.Error("the cluster is gone")
			}
		})
	}
	t.Run("no terminal", func(t *testing.T) {
		cmd := atoll(t, admin, "remove", "keep-me")
		cmd.Stdin = strings.NewReader("keep-me\n")
		out, err := cmd.CombinedOutput()
		if exitCode(t, err) != 2 || !strings.Contains(string(out), "add: --confirm keep-me") || !exists(t, admin, "keep-me") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("the right name", func(t *testing.T) {
		s := onTerminal(t, admin, 80, "remove", "keep-me")
		s.expect(" to go on: ")
		s.press("keep-me\n")
		s.ends(0)
		if exists(t, admin, "keep-me") {
			t.Error("the cluster is still there")
		}
	})
}

func TestProgressIsOneLineOfATerminalHoweverNarrow(t *testing.T) {
	const columns = 30
	admin := hubKubeconfig(t)
	cluster(t, admin, "a-cluster-with-a-rather-long-name")
	s := onTerminal(t, admin, columns, "wait", "cluster/a-cluster-with-a-rather-long-name")
	s.expect("\r\x1b[Kcluster/a-cluster")
	s.press(ctrlC)
	s.ends(130)
	drawn := strings.Split(s.text(), "\r\x1b[K")
	for _, line := range drawn {
		if utf8.RuneCountInString(strings.TrimSuffix(line, "^C")) >= columns {
			t.Errorf("%q wraps", line)
		}
	}
	if last := drawn[len(drawn)-1]; last != "" {
		t.Errorf("%q is left on the terminal", last)
	}
}

// drawnSince is the longest line drawn since a mark.
func (s *session) drawnSince(mark int) (longest int) {
	for _, line := range strings.Split(s.text()[mark:], "\r\x1b[K") {
		longest = max(longest, utf8.RuneCountInString(line))
	}
	return longest
}

func TestProgressFollowsTheTerminalsWidth(t *testing.T) {
	const name = "a-cluster-that-is-resized-in-the-midst-of-it-all"
	wire, proxied := cuttable(t, hubKubeconfig(t))
	cluster(t, hubKubeconfig(t), name)
	s := onTerminal(t, proxied, 100, "wait", "cluster/"+name)
	s.expect("waiting for connected")
	resize := func(columns uint16) (mark int) {
		t.Helper()
		if err := pty.Setsize(s.tty, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
			t.Fatal(err)
		}
		return len(s.text())
	}
	mark := resize(40)
	wire.cut()
	s.expectSince(mark, "…")
	if longest := s.drawnSince(mark); longest >= 40 {
		t.Errorf("%d columns on a terminal of 40: %q", longest, s.text()[mark:])
	}
	mark = resize(90)
	wire.mend()
	s.expectSince(mark, "waiting for connected")
	s.press(ctrlC)
	s.ends(130)
}

func TestOnlyTheRightNameDeletesAnApplication(t *testing.T) {
	admin := hubKubeconfig(t)
	deploy := atoll(t, admin, "deploy", "keep-app", "-f", "-", "-p", "keep-project", "--create-project", "--to", "stage=none")
	deploy.Stdin = strings.NewReader("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\n")
	if out, err := deploy.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	there := func() bool { return atoll(t, admin, "get", "app/keep-app", "-p", "keep-project").Run() == nil }
	for name, c := range map[string]struct {
		keys, says string
		code       int
	}{
		"the project's name": {"keep-project\n", "that is not the name; nothing was changed", 2},
		"yes":                {"y\n", "that is not the name; nothing was changed", 2},
		"Ctrl-D":             {ctrlD, "nothing was changed", 2},
		"Ctrl-C":             {ctrlC, "", 130},
	} {
		t.Run(name, func(t *testing.T) {
			s := onTerminal(t, admin, 80, "delete", "app/keep-app", "-p", "keep-project")
			s.expect("it is on no cluster")
			s.expect(" to go on: ")
			s.press(c.keys)
			s.ends(c.code)
			s.expect(c.says)
			if !there() {
				t.Error("the application is gone")
			}
		})
	}
	t.Run("the right name", func(t *testing.T) {
		s := onTerminal(t, admin, 80, "delete", "app/keep-app", "-p", "keep-project")
		s.expect(" to go on: ")
		s.press("keep-app\n")
		s.ends(0)
		if out, err := atoll(t, admin, "wait", "app/keep-app", "-p", "keep-project", "--for=deleted").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// The folder holds the caller's credentials.
func TestKubectlThatIsToldToEndLeavesNoFolder(t *testing.T) {
	admin, folder := hubKubeconfig(t), t.TempDir()
	cluster(t, admin, "watched")
	cmd := atoll(t, admin, "kubectl", "--", "get", "clusters.atoll.dev", "-w", "-o", "name")
	cmd.Env = append(cmd.Env, "TMPDIR="+folder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("it watches nothing: %v", err)
	}
	if left, _ := os.ReadDir(folder); len(left) == 0 {
		t.Fatal("there is no folder that could be left")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out) // until it ends
	if code := exitCode(t, cmd.Wait()); code != 143 {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestProgressOffATerminalIsALineForEachChange(t *testing.T) {
	admin := hubKubeconfig(t)
	cluster(t, admin, "never-joins")
	out, err := atoll(t, admin, "wait", "cluster/never-joins", "--timeout", "1s").CombinedOutput()
	if exitCode(t, err) != 1 || !strings.HasPrefix(string(out), "cluster/never-joins: waiting for connected") || strings.ContainsAny(string(out), "\r\x1b") {
		t.Errorf("%v: %q", err, out)
	}
}

func TestGetWatchOutlivesItsConnection(t *testing.T) {
	admin := hubKubeconfig(t)
	wire, proxied := cuttable(t, admin)
	cluster(t, admin, "seen-first")
	s := onTerminal(t, proxied, 100, "get", "clusters", "-w")
	s.expect("seen-first")
	cluster(t, admin, "seen-live")
	s.expect("seen-live")
	wire.cut()
	s.expect("trying again")
	cluster(t, admin, "seen-later")
	wire.mend()
	s.expect("seen-later")
	if out, err := atoll(t, admin, "remove", "seen-live", "--confirm", "seen-live").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.expect("seen-live deleted")
	s.press(ctrlC)
	s.ends(130)
}

// cuttable is the kubeconfig of a way to the hub that can be cut.
func cuttable(t *testing.T, kubeconfig string) (*wire, string) {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	current := config.Clusters[config.Contexts[config.CurrentContext].Cluster]
	server, err := url.Parse(current.Server)
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, server.Host)
	server.Host = w.address()
	current.Server = server.String()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return w, path
}
