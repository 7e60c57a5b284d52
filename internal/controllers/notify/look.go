package notify

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/notify"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
)

// application looks at one, unless something newer of it was looked at already.
func (t *Teller) application(app *v1alpha1.Application) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.projects[app.Namespace]
	if a == nil {
		return
	}
	held := t.taken[client.ObjectKeyFromObject(app)]
	if held.version != "" {
		if order, err := resourceversion.CompareResourceVersion(app.ResourceVersion, held.version); err == nil && order < 0 {
			return
		}
	}
	live := notify.Live{Held: t.heldBy(app), Taken: held.commit != "" && held.commit == commitOf(app)}
	if live.Taken {
		now := t.Summary(app)
		live.Members, live.Trying, live.Disproved = now.Counts, now.Trying, now.Disproved
	}
	t.tell(a, a.seen.Application(app, live), app.Labels)
}

// commitOf is the commit that an application was last found good at.
func commitOf(app *v1alpha1.Application) string {
	if f := app.Status.Source; app.Spec.Source.Git != nil && f != nil && f.Commit != nil {
		return f.Commit.ID
	}
	return ""
}

// heldBy are the deletions that clusters withhold which are among the exceptions.
func (t *Teller) heldBy(app *v1alpha1.Application) map[string]string {
	if app.Status.Counts.Held == 0 {
		return nil
	}
	held := map[string]string{}
	for _, x := range app.Status.Exceptions {
		if x.Sync != string(report.Held) {
			continue
		}
		key := desired.Key{Project: app.Namespace, Application: app.Name}
		if s := t.State(x.Cluster, key); s.HeldDeletion != "" {
			held[x.Cluster] = s.HeldDeletion
		}
	}
	return held
}

// Entered tells that the clusters' entries follow from an application as it was,
// or as it is by now. What its status says of its commit since then is of that
// commit, and before may have been of another.
func (t *Teller) Entered(ctx context.Context, app *v1alpha1.Application) error {
	name := client.ObjectKeyFromObject(app)
	t.mu.Lock()
	if commit := commitOf(app); commit != "" {
		t.entered[name] = commit
	} else {
		delete(t.entered, name)
	}
	t.mu.Unlock()
	return t.confirm(ctx, name)
}

// confirm reads from when on an application's status speaks of its commit, if
// somebody wants to know.
func (t *Teller) confirm(ctx context.Context, name types.NamespacedName) error {
	commit := t.awaited(name)
	if commit == "" {
		return nil
	}
	now := &v1alpha1.Application{}
	if err := t.Live.Get(ctx, name, now); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil
		}
		return fmt.Errorf("read application %s to tell of its commit: %w", name, err)
	}
	t.mu.Lock()
	t.taken[name] = taken{commit: commit, version: now.ResourceVersion}
	t.mu.Unlock()
	t.application(now)
	return nil
}

// confirmAll does so for a project of which nobody wanted to know before.
func (t *Teller) confirmAll(ctx context.Context, project string) {
	t.mu.Lock()
	var names []types.NamespacedName
	for name := range t.entered {
		if name.Namespace == project {
			names = append(names, name)
		}
	}
	t.mu.Unlock()
	for _, name := range names {
		if err := t.confirm(ctx, name); err != nil && ctx.Err() == nil {
			t.Log.Warn("what became of a commit will be told when the application changes", "err", err)
		}
	}
}

// awaited is the commit that clusters are told of, if somebody wants to know and
// does not yet.
func (t *Teller) awaited(app types.NamespacedName) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, commit := t.projects[app.Namespace], t.entered[app]
	if a == nil || t.taken[app].commit == commit {
		return ""
	}
	for _, r := range a.receivers {
		if r.spec.CommitStatus != nil {
			return commit
		}
	}
	return ""
}

func (t *Teller) applicationGone(app *v1alpha1.Application) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.taken, client.ObjectKeyFromObject(app))
	delete(t.entered, client.ObjectKeyFromObject(app))
	t.forget(app.Namespace, app.UID)
}

func (t *Teller) rollout(run *v1alpha1.RolloutRun) {
	app := &v1alpha1.Application{}
	_ = t.Client.Get(context.Background(), types.NamespacedName{Namespace: run.Namespace, Name: run.Spec.Plan.Application}, app) // from the cache; one that is gone has no labels
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.projects[run.Namespace]; a != nil {
		t.tell(a, a.seen.Rollout(run), app.Labels)
	}
}

func (t *Teller) rolloutGone(run *v1alpha1.RolloutRun) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(run.Namespace, run.UID)
}

// cluster tells the projects that have something there.
func (t *Teller) cluster(c *v1alpha1.Cluster) {
	t.mu.Lock()
	defer t.mu.Unlock()
	link := c.Status.Connection.State
	if was := t.links[c.UID]; was == link {
		return // its status is written all the time
	}
	t.links[c.UID] = link
	there := map[string]bool{}
	for key := range t.Book.Page(c.Name).Keys() {
		there[key.Project] = true
	}
	for project := range there {
		if a := t.projects[project]; a != nil {
			t.tell(a, a.seen.Cluster(c), nil)
		}
	}
}

func (t *Teller) clusterGone(c *v1alpha1.Cluster) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for project := range t.projects {
		t.forget(project, c.UID)
	}
	delete(t.links, c.UID)
	t.drifts.Forget(c.Name)
}

func (t *Teller) forget(project string, uid types.UID) {
	if a := t.projects[project]; a != nil {
		a.seen.Forget(uid)
	}
}

// Heard takes what a cluster says, for the corrections in it.
func (t *Teller) Heard(c observed.Change) {
	for _, key := range c.Keys {
		if s := t.State(c.Cluster, key); s.Corrections > 0 {
			t.corrected(c.Cluster, s)
		}
	}
}

func (t *Teller) corrected(cluster string, s report.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.projects[s.Key.Project] != nil {
		t.drifts.Reported(cluster, s, t.Now())
	}
}

// tellDrift queues what was gathered of corrections.
func (t *Teller) tellDrift(ctx context.Context) {
	apps := map[desired.Key]*v1alpha1.Application{}
	t.mu.Lock()
	defer t.mu.Unlock()
	events := t.drifts.Due(t.Now(), func(key desired.Key) types.UID {
		app := &v1alpha1.Application{}
		if t.Client.Get(ctx, types.NamespacedName{Namespace: key.Project, Name: key.Application}, app) != nil {
			return ""
		}
		apps[key] = app
		return app.UID
	})
	for _, e := range events {
		if a := t.projects[e.Subject.Project]; a != nil {
			t.tell(a, []notify.Event{e}, apps[desired.Key{Project: e.Subject.Project, Application: e.Subject.Application}].Labels)
		}
	}
}
