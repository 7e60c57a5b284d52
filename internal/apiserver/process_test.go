package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// childDir, when set, makes this test binary a hub on that directory, so that
// tests can see one from outside and kill it.
const childDir = "ATOLL_TEST_HUB_DIR"

// runChild serves until standard input ends.
func runChild(dir string) error {
	s, err := Start(context.Background(), Options{DataDir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	fmt.Println(s.AdminKubeconfig())
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return s.Stop()
}

type child struct {
	command *exec.Cmd
	stdin   io.Closer
	stderr  bytes.Buffer
}

// startChild returns when the hub in the other process is ready.
func startChild(t *testing.T, dir string) *child {
	t.Helper()
	c := &child{command: exec.CommandContext(t.Context(), os.Args[0])}
	c.command.Env = append(os.Environ(), childDir+"="+dir)
	c.command.Stderr = &c.stderr
	stdin, err := c.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin = stdin
	stdout, err := c.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.command.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("the hub did not start: %v %q: %s", err, line, c.stderr.String())
	}
	return c
}

func TestKilledHubLosesNothingAndReleasesItsDirectory(t *testing.T) {
	dir := t.TempDir()
	child := startChild(t, dir)
	_, err := Start(t.Context(), Options{DataDir: dir, Listen: "127.0.0.1:0"})
	if pid := strconv.Itoa(child.command.Process.Pid); err == nil || !strings.Contains(err.Error(), "another hub (process "+pid+")") {
		t.Errorf("while it lives: %v", err)
	}
	client := clientOf(t, &Server{dir: dataDir(dir)})
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("acknowledged"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := child.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.command.Wait() // Killed, as it will say.

	next := startSecond(t, Options{DataDir: dir, Listen: "127.0.0.1:0"})
	if _, err := clientOf(t, next).CoreV1().ConfigMaps("default").Get(t.Context(), "acknowledged", metav1.GetOptions{}); err != nil {
		t.Errorf("what the killed hub had acknowledged: %v", err)
	}
}

func TestHubIsSilentOnItsUsersTerminal(t *testing.T) {
	dir := t.TempDir()
	child := startChild(t, dir)
	config, err := clientcmd.BuildConfigFromFlags("", string(dataDir(dir).adminKubeconfig()))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client := kubernetes.NewForConfigOrDie(config)
	// Callers who lose patience are what its libraries complain about most.
	for i := range 300 {
		patience, giveUp := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
		_, _ = client.CoreV1().ConfigMaps("default").Create(patience, configMap(fmt.Sprintf("m-%d", i)), metav1.CreateOptions{})
		giveUp()
	}
	if err := child.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.command.Wait(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if said := child.stderr.String(); said != "" {
		t.Errorf("the hub wrote:\n%s", said)
	}
}
