package realnode_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/sandbox/realnode"
)

// ownerVariable makes this test the owner of a cluster, which will be killed.
const ownerVariable = "REALNODE_TEST_OWNER"

func TestNothingOfANodeOutlivesAKilledTest(t *testing.T) {
	b := &bed{t: t}
	if os.Getenv(ownerVariable) != "" {
		b = start(t, "orphan")
		b.load("./server", "", serverImage)
		b.deploy("web")
		fmt.Printf("READY %s\n", filepath.Dir(b.cluster.KubeconfigPath()))
		<-t.Context().Done()
		return
	}
	requireRealNodes(t)
	owner := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	owner.Env = append(os.Environ(), ownerVariable+"=1", requiredVariable+"=1")
	output, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	var said []string
	for lines := bufio.NewScanner(output); dir == "" && lines.Scan(); said = append(said, lines.Text()) {
		if path, ok := strings.CutPrefix(lines.Text(), "READY "); ok {
			dir = path
		}
	}
	state, err := sandbox.ReadState(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatalf("%v; the owner said:\n%s", err, strings.Join(said, "\n"))
	}
	cgroups, err := filepath.Glob("/sys/fs/cgroup/*" + string(realnode.CgroupOf(dir)))
	if err != nil || len(cgroups) == 0 {
		t.Fatalf("the node has no cgroups (%v)", err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // it was killed
	b.eventually("the node and its traces are gone", func(context.Context) error {
		if state.Processes[sandbox.Node].Alive() {
			return errors.New("it still runs")
		}
		for _, path := range append(cgroups, filepath.Dir(dir)) {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s remains (%v)", path, err)
			}
		}
		return nil
	})
}
