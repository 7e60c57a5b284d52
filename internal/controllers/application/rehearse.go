package application

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

// Rehearsal is what would be decided for an application as it would be.
type Rehearsal struct {
	// Plan is what is asked of the clusters when the change has reached all of
	// them.
	Plan     assign.Plan
	Clusters []v1alpha1.Cluster
	Leaving  assign.Leaving
	// Refused are the objects that the project may not deliver.
	Refused []report.Problem
	// Run is the rollout by which it travels, as it stands at its beginning or
	// now; nil when every cluster is told at once.
	Run *v1alpha1.RolloutRun
	// Waits is why nothing of it would begin now.
	Waits string
}

// Rehearse decides by what Reconcile decides by, on a stage and with a depot that
// keep nothing. What waits for its turn is told as if its turn had come.
func (r *Intent) Rehearse(ctx context.Context, app *v1alpha1.Application, stage *Stage, store Depot) (Rehearsal, error) {
	runs, err := r.Runs.onStage(ctx, app, stage)
	if err != nil {
		return Rehearsal{}, err
	}
	// Began stays zero: a plan does not wait for clusters to connect.
	alone := &Intent{Client: stage, Depot: store, Book: r.Book, Fleet: r.Fleet, Runs: runs, Heartbeat: r.Heartbeat, Now: r.Now}
	var unread error
	state, _, err := alone.gather(ctx, app, &unread)
	if err != nil {
		return Rehearsal{}, err
	}
	if state.Cycle, err = alone.cycle(ctx, app); err != nil {
		return Rehearsal{}, err
	}
	var c course
	if _, err := alone.embark(ctx, app, &state, &c); err != nil {
		return Rehearsal{}, err
	}
	if c.run != nil {
		state.Version = rollout.NewCourse(arrived(c.run)).Version
	}
	out := Rehearsal{Clusters: state.Clusters, Run: c.run}
	frozen, err := r.frozen(ctx, app, state.Project)
	if err != nil {
		return Rehearsal{}, err
	}
	if frozen != nil {
		out.Waits = frozen.Why()
	}
	if check := state.Check; check != nil {
		state.Check = func(e desired.Entry) []report.Problem {
			problems := check(e)
			for _, p := range problems {
				if !slices.Contains(out.Refused, p) {
					out.Refused = append(out.Refused, p)
				}
			}
			return problems
		}
	}
	out.Plan = assign.Make(state)
	if !out.Plan.Keep {
		there := map[string]bool{}
		for i := range state.Clusters {
			there[state.Clusters[i].Name] = true
		}
		out.Leaving = assign.HeldLeaving(state.App, out.Plan.Decision.Chosen, func(cluster string) bool { return there[cluster] })
	}
	return out, unread
}

// arrived is a run that has come through, unless it failed: what becomes of
// that one is a person's decision, or made already.
func arrived(run *v1alpha1.RolloutRun) *v1alpha1.RolloutRun {
	switch run.Status.Phase {
	case v1alpha1.RolloutHalted, v1alpha1.RolloutRollingBack, v1alpha1.RolloutRolledBack:
		return run
	}
	end := run.DeepCopy()
	end.Status.Phase = v1alpha1.RolloutComplete
	return end
}

// onStage are the application's runs on a stage.
func (r *Runs) onStage(ctx context.Context, app *v1alpha1.Application, stage *Stage) (*Runs, error) {
	last, err := r.Latest(ctx, app)
	if err != nil {
		return nil, err
	}
	alone := &Runs{Client: stage, Live: stage, latest: map[types.NamespacedName]map[types.UID]*v1alpha1.RolloutRun{}}
	if last != nil {
		alone.latest[client.ObjectKeyFromObject(app)] = map[types.UID]*v1alpha1.RolloutRun{app.UID: last}
	}
	return alone, nil
}
