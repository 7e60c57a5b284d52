package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// console is what every command shares: the streams, the connection's flags
// and the clock.
type console struct {
	// Streams are for people; raw is for programs and for what is of another form.
	Streams
	raw        Streams
	ink        ink
	width      int
	now        func() time.Time
	kubeconfig string
	context    string
	project    string
}

// New is the `atoll` command over the streams, with more verbs beside its own.
func New(s Streams, extra ...*cobra.Command) *cobra.Command {
	width, _ := terminal(s.Out)
	shown := Streams{In: s.In, Out: screen{s.Out, inkFor(s.Out)}, Err: s.Err}
	return newRoot(&console{Streams: shown, raw: s, ink: inkFor(s.Out), width: width, now: time.Now}, extra)
}

// Main runs the command line and returns the process's exit code.
func Main(ctx context.Context, s Streams, args []string, extra ...*cobra.Command) int {
	root := New(s, extra...)
	root.SetArgs(args)
	code := func() int { return exitOK }
	// The verbs of others see to signals themselves.
	if verb, _, err := root.Find(args); err != nil || !slices.Contains(extra, verb) {
		ctx, code = untilSignal(ctx)
	}
	err := root.ExecuteContext(ctx)
	if ended := code(); ended != exitOK {
		return ended
	}
	if text := sentence(errOrNil(err)); text != "" {
		fmt.Fprintln(s.Err, "error: "+visible(text, false))
	}
	return codeOf(err)
}

// untilSignal ends a command, which then clears away what it made, by Ctrl-C or
// as service managers end programs. A second signal ends it at once. code is
// what shells say of a program that the signal ended, or exitOK without one.
func untilSignal(parent context.Context) (ctx context.Context, code func() int) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := atomic.Int32{}
	go func() {
		s := <-signals
		signal.Stop(signals)
		if s == syscall.SIGTERM {
			ended.Store(exitTerminated)
		} else {
			ended.Store(exitInterrupted)
		}
		cancel()
	}()
	return ctx, func() int { return int(ended.Load()) }
}

func errOrNil(err error) error {
	if err == nil {
		return &codedError{}
	}
	return err
}

const (
	groupUse   = "use"
	groupLook  = "look"
	groupFleet = "fleet"
	groupOther = "other"
)

func newRoot(c *console, extra []*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "atoll",
		Short: "Manage a fleet of independent Kubernetes clusters",
		Long: `Atoll manages a fleet of Kubernetes clusters that stay independent: intent lives
in one hub, an agent in each cluster executes it, and keeps executing when the
hub is away.

Data goes to stdout, words to stderr. Exit codes: 0 yes; 1 a negative answer
(differences, not in time); 2 wrong use or a failure; 3 only a part of the fleet
answered, and stderr names the silent clusters.

The hub is found by --kubeconfig, $ATOLL_KUBECONFIG, $KUBECONFIG, then
~/.atoll/config and ~/.atoll/admin.kubeconfig; the project by --project,
$ATOLL_PROJECT, then the namespace of the kubeconfig's context.`,
		Example: `  atoll status
  atoll deploy shop -f deploy/ --project demo --to 'stage=production' --wait
  atoll explain app/shop`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	root.SetFlagErrorFunc(flagMistake)
	c.addFlags(root)
	root.AddGroup(
		&cobra.Group{ID: groupUse, Title: "Deliver:"},
		&cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupFleet, Title: "Clusters:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	add := func(group string, verbs ...*cobra.Command) {
		for _, verb := range verbs {
			verb.GroupID = group
			root.AddCommand(verb)
		}
	}
	add(groupUse, newDeploy(c), newApply(c), newSync(c), newWait(c), newRollout(c), newRollback(c), newUnpin(c), newDelete(c), newAllowDeletion(c))
	add(groupLook, newStatus(c), newPlan(c), newExplain(c), newGet(c), newDescribe(c), newDiff(c), newTree(c), newHistory(c), newEvents(c), newAlerts(c), newCertificates(c))
	add(groupFleet, newJoin(c), newAccept(c), newCordon(c), newUncordon(c), newUpgrade(c), newRemove(c), newRecover(c), newKubectl(c), newKubeconfig(c))
	add(groupOther, newVersion(c))
	add(groupUse, newImport(c), newTakeover(c))
	add(groupOther, newGrant(c), newRevoke(c), newAccess(c), newWhoCan(c))
	root.AddCommand(extra...)
	add(groupUse, newFreeze(c), newThaw(c), newOverride(c))
	add(groupLook, newTimeline(c), newPolicy(c), newAudit(c))
	add(groupOther, newLogin(c), newLogout(c), newWhoami(c), newCanI(c), newToken(c), newCredential(c))
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	root.SetHelpCommand(newHelp())
	root.InitDefaultCompletionCmd()
	strictShells(root)
	return root
}

func (c *console) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig of the hub")
	flags.StringVar(&c.context, "context", "", "context of the kubeconfig")
	flags.StringVarP(&c.project, "project", "p", "", "the project: the hub's namespace of that name")
	// kubectl's name for it.
	flags.StringVarP(&c.project, "namespace", "n", "", "same as --project")
	_ = flags.MarkHidden("namespace")
	_ = root.RegisterFlagCompletionFunc("project", c.completeNames(projectKind))
}

func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var verbs []string
	for _, sub := range cmd.Commands() {
		verbs = append(verbs, sub.Name())
	}
	return wrong("there is no command %q%s (`atoll --help` lists them)", args[0], didYouMean(args[0], verbs))
}

// flagMistake names the nearest flag when one is misspelt.
func flagMistake(cmd *cobra.Command, err error) error {
	missing := (*pflag.NotExistError)(nil)
	if !errors.As(err, &missing) {
		return wrong("%s: %v (see `%s --help`)", cmd.CommandPath(), err, cmd.CommandPath())
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	flag, hint := "--"+missing.GetSpecifiedName(), didYouMean(missing.GetSpecifiedName(), names)
	if missing.GetSpecifiedShortnames() != "" {
		flag, hint = "-"+missing.GetSpecifiedName(), ""
	}
	hint = strings.Replace(hint, `"`, `"--`, 1)
	return wrong("%s has no flag %s%s (see `%s --help`)", cmd.CommandPath(), flag, hint, cmd.CommandPath())
}

// takes refuses any other number of arguments in words.
func takes(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < n:
			return wrong("%s needs %s (usage: %s)", cmd.CommandPath(), what, cmd.UseLine())
		case len(args) > n:
			return wrong("%s takes %s; %q is too many", cmd.CommandPath(), what, strings.Join(args[n:], " "))
		}
		return nil
	}
}

func atMostOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return wrong("%s takes one %s; %q is too many", cmd.CommandPath(), what, strings.Join(args[1:], " "))
		}
		return nil
	}
}

func takesNothing(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrong("%s takes no arguments; %q is too many", cmd.CommandPath(), strings.Join(args, " "))
	}
	return nil
}

// oneOf refuses a flag's value that is none of the known ones.
func oneOf(flag, value string, known ...string) error {
	for _, k := range known {
		if k == value {
			return nil
		}
	}
	return wrong("--%s %q is none of %s%s", flag, value, strings.Join(known, ", "), didYouMean(value, known))
}

// say prints words.
func (c *console) say(format string, args ...any) {
	fmt.Fprintln(c.Err, visible(fmt.Sprintf(format, args...), c.ink))
}

// print prints data.
func (c *console) print(format string, args ...any) {
	fmt.Fprintf(c.Out, format+"\n", args...)
}
