package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

func newRollout(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "See and steer how a change travels over an application's clusters",
		Long: `See and steer how a change travels over an application's clusters.

An Application with spec.rollout changes its clusters in waves: by default one
cluster, a quarter, the rest. A wave begins when every cluster of the one before is
in sync and healthy with exactly that version and has been for as long as it must
soak. When one fails, the rollout halts, or takes every cluster back
(onFailure: Rollback).`,
		Example: `  atoll rollout status app/shop
  atoll rollout promote app/shop`,
		Args: unknownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRolloutStatus(c))
	for _, v := range steering {
		cmd.AddCommand(v.command(c))
	}
	return cmd
}

func newRolloutStatus(c *console) *cobra.Command {
	a := aboutApp{}
	cmd := &cobra.Command{
		Use:   "status app/NAME",
		Short: "The rollout under way, or the last one: its waves and why it is where it is",
		Example: `  atoll rollout status app/shop
  atoll rollout status app/shop -o yaml`,
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.rolloutStatus(cmd.Context(), args[0], a)
		},
	}
	addOutput(cmd, &a.output)
	return cmd
}

func (c *console) rolloutStatus(ctx context.Context, arg string, a aboutApp) error {
	_, app, run, err := c.openRun(ctx, arg, a)
	if err != nil {
		return err
	}
	if a.output != "text" {
		return encode(c.Out, a.output, run)
	}
	p := runPage(run, time.Now())
	p.field("Frozen", frozen(app))
	p.field("Windows", windows(app, time.Now()))
	return p.write(c.Out, c.view())
}

// openRun finds an application and the run that it names.
func (c *console) openRun(ctx context.Context, arg string, a aboutApp) (*hub, *v1alpha1.Application, *v1alpha1.RolloutRun, error) {
	h, app, err := c.open(ctx, arg, a)
	if err != nil {
		return nil, nil, nil, err
	}
	if app.Status.Rollout == "" {
		if app.Spec.Rollout == nil {
			return nil, nil, nil, wrong("application %s has no rollout: its changes reach all clusters at once; waves are set by spec.rollout", app.Name)
		}
		return nil, nil, nil, wrong("application %s has had no rollout yet: the next change begins one", app.Name)
	}
	run, err := fetch[v1alpha1.RolloutRun](ctx, h, rolloutKind, app.Namespace, app.Status.Rollout)
	return h, app, run, err
}

// windows is whether an application's clusters may be told of changes now.
func windows(app *v1alpha1.Application, now time.Time) string {
	all, err := rollout.CompileWindows(app.Spec.Rollout)
	switch {
	case err != nil:
		return err.Error()
	case len(all) == 0:
		return ""
	case all.Open(now):
		return "open"
	}
	return "closed; the next opens" + all.In(now)
}

func runPage(run *v1alpha1.RolloutRun, now time.Time) *page {
	plan, s := &run.Spec.Plan, &run.Status
	p := &page{}
	p.field("Rollout", run.Name)
	p.field("Phase", string(s.Phase))
	p.field("Why", s.Message)
	p.field("Brings", plan.Cause)
	p.field("Clusters", fmt.Sprintf("%d of %d begun, %d in sync and healthy", s.Started, s.Clusters, s.Passed))
	p.field("On failure", string(plan.OnFailure))
	p.field("Failed", strings.Join(s.Failed, ", "))
	switch {
	case s.FinishedAt != nil:
		p.field("Took", duration.HumanDuration(s.FinishedAt.Sub(run.CreationTimestamp.Time)))
	default:
		p.field("Running for", duration.HumanDuration(now.Sub(run.CreationTimestamp.Time)))
	}
	course := rollout.NewCourse(run)
	waves := grid{head: []string{"WAVE", "STATE", "CLUSTERS"}}
	for i, wave := range plan.Waves {
		waves.add(text(fmt.Sprint(i+1)), state(waveState(run, i, wave, course)), text(strings.Join(wave.Clusters, ", ")))
	}
	p.table("Waves", waves)
	return p
}

func waveState(run *v1alpha1.RolloutRun, i int, wave v1alpha1.RolloutWave, course *rollout.Course) string {
	at := int(run.Status.Wave)
	switch {
	case run.Status.Phase == v1alpha1.RolloutComplete || i < at && !run.Status.Phase.Final():
		return "Passed"
	case i == at && !run.Status.Phase.Final():
		return string(run.Status.Phase)
	case course.Waiting(wave.Clusters[0]):
		return "NotBegun"
	}
	return string(run.Status.Phase)
}

// steer is a verb that says something to a run under way.
type steer struct {
	use, short, long string
	// says is what it writes into the run's control; an empty map means that
	// there is nothing to say, for the reason given.
	says func(run *v1alpha1.RolloutRun) (map[string]any, string)
	done string
}

var steering = []steer{
	{
		use: "pause", short: "Begin no further cluster until it is resumed", done: "paused",
		says: func(run *v1alpha1.RolloutRun) (map[string]any, string) {
			return unfinished(run, map[string]any{"paused": true})
		},
	},
	{
		use: "resume", short: "Go on after a pause or a halt, or try again what was rolled back", done: "resumed",
		says: func(run *v1alpha1.RolloutRun) (map[string]any, string) {
			control := map[string]any{"paused": false}
			switch run.Status.Phase {
			case v1alpha1.RolloutHalted, v1alpha1.RolloutRolledBack:
				control["resumed"] = run.Status.Resumed + 1
				return control, ""
			case v1alpha1.RolloutPaused:
				return control, ""
			}
			if run.Spec.Control.Paused {
				return control, ""
			}
			return nil, "is " + strings.ToLower(string(run.Status.Phase)) + " and neither paused, halted nor rolled back"
		},
	},
	{
		use: "promote", short: "Begin the next wave now: approved, and without more soaking", done: "promoted",
		long: `Begin the next wave now. It is thereby approved, and the wave before it neither soaks on nor
waits for clusters that are away. One that fails still halts the rollout.`,
		says: func(run *v1alpha1.RolloutRun) (map[string]any, string) {
			next := run.Status.Wave + 2 // a count, and of the wave after this one
			if run.Status.Phase == v1alpha1.RolloutWaiting {
				next = run.Status.Wave + 1
			}
			return unfinished(run, map[string]any{"promoted": max(next, run.Spec.Control.Promoted)})
		},
	},
	{
		use: "abort", short: "Take every cluster that was begun back to what it ran before", done: "aborted",
		says: func(run *v1alpha1.RolloutRun) (map[string]any, string) {
			return unfinished(run, map[string]any{"aborted": true})
		},
	},
}

func unfinished(run *v1alpha1.RolloutRun, control map[string]any) (map[string]any, string) {
	if run.Status.Phase.Final() {
		return nil, "is over: " + run.Status.Message
	}
	return control, ""
}

func (v steer) command(c *console) *cobra.Command {
	return &cobra.Command{
		Use:               v.use + " app/NAME",
		Short:             v.short,
		Long:              v.long,
		Example:           "  atoll rollout " + v.use + " app/shop",
		Args:              takes(1, "an application: app/NAME"),
		ValidArgsFunction: c.completeRefs(applicationKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.steer(cmd.Context(), args[0], v)
		},
	}
}

func (c *console) steer(ctx context.Context, arg string, v steer) error {
	h, app, run, err := c.openRun(ctx, arg, aboutApp{output: "text"})
	if err != nil {
		return err
	}
	if v.use != "pause" {
		if err := thawed(app); err != nil {
			return err
		}
	}
	control, nothing := v.says(run)
	if control == nil {
		return wrong("rollout %s %s", run.Name, nothing)
	}
	// What is said names the wave or the halt that was seen, so it needs no
	// look at whether the run has moved meanwhile.
	if err := h.merge(ctx, rolloutKind, run.Namespace, run.Name, map[string]any{"spec": map[string]any{"control": control}}); err != nil {
		return err
	}
	c.print("%s %s", rolloutKind.ref(run.Name), v.outcome(run))
	if still := v.inTheWay(app, run); still != "" {
		c.say("No further cluster begins yet: %s.", still)
	}
	return nil
}

// outcome is what became of it: a run that stands still is promoted when it goes on.
func (v steer) outcome(run *v1alpha1.RolloutRun) string {
	if v.use == "promote" && standsStill(run) {
		return "will be promoted when it is resumed"
	}
	return v.done
}

func standsStill(run *v1alpha1.RolloutRun) bool {
	return run.Spec.Control.Paused || run.Status.Phase == v1alpha1.RolloutHalted
}

// inTheWay is what else keeps a run from going on, and what to do about it.
func (v steer) inTheWay(app *v1alpha1.Application, run *v1alpha1.RolloutRun) string {
	switch {
	case v.use != "resume" && v.use != "promote":
		return ""
	case app.Spec.Rollout != nil && app.Spec.Rollout.Paused:
		return "spec.rollout.paused of application " + app.Name + " is true; set it to false there"
	case v.use == "promote" && standsStill(run):
		return "it is paused or halted; `atoll rollout resume app/" + app.Name + "` has it go on"
	}
	return ""
}
