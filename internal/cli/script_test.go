package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"atoll.dev/atoll/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"atoll": func() { os.Exit(cli.Main(context.Background(), cli.System(), os.Args[1:])) },
	})
}

// TestScripts needs no hub: wrong use, help, and a hub that is not there.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", nil) }

// liveHub names the admin kubeconfig of a running hub for the scripts in
// testdata/live; liveMember that of a cluster which has joined it as "member".
const (
	liveHub    = "ATOLL_TEST_HUB"
	liveMember = "ATOLL_TEST_MEMBER"
)

// TestLive runs against a real hub that the caller started.
func TestLive(t *testing.T) {
	if os.Getenv(liveHub) == "" {
		t.Skipf("no hub to test against; set %s to its admin kubeconfig", liveHub)
	}
	runScripts(t, "testdata/live", func(env *testscript.Env) error {
		env.Setenv("ATOLL_KUBECONFIG", os.Getenv(liveHub))
		env.Setenv("MEMBER", os.Getenv(liveMember))
		// Several runs may share a hub.
		env.Setenv("RUN", filepath.Base(filepath.Dir(env.WorkDir)))
		return nil
	})
}

func runScripts(t *testing.T, dir string, setup func(*testscript.Env) error) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			if setup == nil {
				return nil
			}
			return setup(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and checks its exit code: exits 2 atoll status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if coded, ok := err.(interface{ ExitCode() int }); ok {
		got = strconv.Itoa(coded.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, not %s (%v)", got, args[0], err)
	}
}
