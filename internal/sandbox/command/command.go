// Package command is the command line of atoll-sandbox: it reads flags and
// fleet files and prints results. What a cluster is and how it is run is left
// to package sandbox.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/sandbox"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// errUsage marks what the user could have typed better.
var errUsage = errors.New("usage")

// usageError says err in its own words and exits with 2.
type usageError struct{ err error }

func (e usageError) Error() string   { return e.err.Error() }
func (e usageError) Unwrap() []error { return []error{errUsage, e.err} }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main runs one command and returns its exit code: 0 when it did what was
// asked, 1 when that failed, 2 when it was asked wrongly. Results go to out,
// words about them to words.
func Main(args []string, out, words io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := newRoot(words)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(words)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprintf(words, "atoll-sandbox: %v\n", err)
		return exitUsage
	default:
		fmt.Fprintf(words, "atoll-sandbox: %v\n", err)
		return exitFailed
	}
}

// options are the flags that every command has.
type options struct {
	dir string
	// words takes what is to be known while a command runs.
	words io.Writer
}

func (o *options) fleet() *sandbox.Fleet {
	fleet := sandbox.New(o.dir)
	fleet.OnBusy = func() {
		fmt.Fprintf(o.words, "another command is changing the clusters in %s: waiting for it\n", o.dir)
	}
	return fleet
}

// New is the command line, for those who look at it rather than run it.
func New() *cobra.Command { return newRoot(io.Discard) }

func newRoot(words io.Writer) *cobra.Command {
	o := &options{words: words}
	root := &cobra.Command{
		Use:           "atoll-sandbox",
		Short:         "Run real Kubernetes clusters on this machine, without containers",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&o.dir, "dir", ".sandbox", "where the clusters' files lie")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newUp(o), newList(o), newKubeconfig(o), newDown(o), newKill(o), newStart(o),
		newPause(o), newResume(o), newClock(o), newPartition(o), newSlow(o), newHeal(o), newFaults(o), newLoad(o), newSimulate(o), newDemo())
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s does not know %q", cmd.CommandPath(), args[0])
	}
	return nil
}

func oneCluster(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s takes the name of one cluster", cmd.CommandPath())
	}
	return nil
}
