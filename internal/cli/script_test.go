package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/cli"
	"atoll.dev/atoll/internal/kubectl"
	"atoll.dev/atoll/internal/testfleet"
)

// tests ends the hub that they shared.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	if err := errors.Join(testfleet.EndShared(), signInDoor.close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){
		"atoll": func() {
			os.Exit(cli.Main(context.Background(), cli.System(), os.Args[1:], kubectl.Command(os.Stdin, os.Stdout, os.Stderr)))
		},
	})
}

// TestScripts needs no hub: wrong use, help, and a hub that is not there.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", nil) }

// liveHub names the admin kubeconfig of a running hub for the live tests, which
// otherwise start one.
const liveHub = "ATOLL_TEST_HUB"

// hubKubeconfig is the admin's, of a hub that runs as a process of its own:
// nothing of it is linked here.
func hubKubeconfig(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(liveHub); path != "" {
		return path
	}
	return sharedHub(t).Hub.Kubeconfig()
}

// TestLive is what only a hub can answer: it has no members.
func TestLive(t *testing.T) { liveScripts(t, "testdata/live") }

// TestTheHubItself runs after the others: a plan of a project tells of all
// applications, also of one that was written a moment ago, and while everything
// is frozen they would be held.
func TestTheHubItself(t *testing.T) { liveScripts(t, "testdata/itself") }

func liveScripts(t *testing.T, dir string) {
	admin := hubKubeconfig(t)
	program, err := testfleet.Program("atoll")
	if err != nil {
		t.Skip(err)
	}
	runScripts(t, dir, func(env *testscript.Env) error {
		env.Setenv("ATOLL_KUBECONFIG", admin)
		env.Setenv("ADMIN", admin)
		env.Setenv("HUBDIR", filepath.Dir(admin))
		// The verb `hub` is in the program only.
		env.Setenv("ATOLL", program)
		stranger := filepath.Join(env.WorkDir, "stranger.kubeconfig")
		env.Setenv("STRANGER", stranger)
		return impersonating(admin, "dana", stranger)
	})
}

// impersonating writes a kubeconfig with which one acts as somebody else.
func impersonating(admin, user, path string) error {
	config, err := clientcmd.LoadFromFile(admin)
	if err != nil {
		return err
	}
	for _, auth := range config.AuthInfos {
		auth.Impersonate = user
	}
	return clientcmd.WriteToFile(*config, path)
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
