package application

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/observed"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/rollout"
)

// travel moves the application's rollout on as far as its clusters allow, and
// stores that before any of them hears of it. The course has no run then for an
// application whose changes reach all clusters at once.
func (r *Intent) travel(ctx context.Context, app *v1alpha1.Application, s *assign.State, c *course) error {
	chosen, err := r.embark(ctx, app, s, c)
	if err != nil || chosen == nil || c.run == nil || c.early {
		return err
	}
	windows, err := rollout.CompileWindows(app.Spec.Rollout)
	if err != nil {
		return fmt.Errorf("read spec.rollout of application %s/%s: %w", app.Namespace, app.Name, err)
	}
	world := rollout.World{
		Windows: windows,
		Now:     r.Now(), Since: r.Began.Add(FirstWord), Members: r.members(app, c.run, chosen),
		Paused: app.Spec.Rollout != nil && app.Spec.Rollout.Paused,
	}
	for i := range s.Clusters {
		if m := world.Members[s.Clusters[i].Name]; m.Reading != nil {
			m.Reading.Cluster = readable(&s.Clusters[i])
		}
	}
	if c.frozen != nil {
		world.Frozen = c.frozen.Why()
	}
	r.measure(types.NamespacedName{Namespace: app.Namespace, Name: app.Name}, c.run, world.Members)
	out := rollout.Step(c.run, world)
	c.wake = out.Wake
	if reflect.DeepEqual(out.Status, c.run.Status) {
		return nil
	}
	if out.Status.Phase.Final() && !c.run.Status.Phase.Final() {
		c.wake = rightAway // labels that changed on the way count from now on
	}
	c.run, err = r.Runs.move(ctx, c.run, out.Status)
	return err
}

// rightAway is when an application is looked at again whose run is over.
const rightAway = time.Millisecond

// embark finds the run by which an application travels, or begins one. The chosen
// clusters are those that it may tell of, nil where none travels.
func (r *Intent) embark(ctx context.Context, app *v1alpha1.Application, s *assign.State, c *course) (map[string]bool, error) {
	last, err := r.Runs.Latest(ctx, app)
	c.run = last
	if err != nil || app.DeletionTimestamp != nil || s.Rule == nil || (last == nil && app.Spec.Rollout == nil) {
		return nil, err
	}
	chosen, some := map[string]bool{}, false
	for _, name := range s.Rule.Choose(s.Project, s.Clusters, s.App.Status.Clusters) {
		_, pinned := s.Pinned[name]
		chosen[name] = !pinned
		some = some || !pinned
	}
	if !some {
		// A run without clusters would come through, and prove nothing: those that
		// are chosen again, as after a slip in a selector, would be told at once.
		return nil, nil
	}
	if s.ContentErr == nil && s.Content != "" && c.frozen == nil {
		if err := r.depart(ctx, app, s, c, chosen); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// depart begins a run where the source asks for something new. The run before
// it ends first: who was told what must not change any more when it is read.
func (r *Intent) depart(ctx context.Context, app *v1alpha1.Application, s *assign.State, c *course, chosen map[string]bool) error {
	last, away := c.run, false
	namespace := desired.MemberNamespace(app, s.Project)
	request := rollout.Request{
		Application: app.Name, Rules: app.Spec.Rollout, Target: spread(rollout.VersionOf(app, namespace, string(s.Content)), s.Contents, chosen), Last: last,
		Cause: fmt.Sprintf("revision %s", desired.RevisionName(app.Name, s.Content)),
	}
	for i := range s.Clusters {
		if cluster := &s.Clusters[i]; chosen[cluster.Name] {
			connected := r.Fleet.Get(cluster.Name).State(r.Now(), r.Heartbeat) == v1alpha1.Connected
			away = away || !connected
			request.Clusters = append(request.Clusters, rollout.Candidate{Name: cluster.Name, Labels: cluster.Labels, Connected: connected})
		}
	}
	if last == nil {
		ran, err := r.ran(ctx, s, namespace, chosen)
		if err != nil {
			return err
		}
		request.Ran = ran
	}
	if !rollout.Due(request) {
		return nil
	}
	// Who is away when a run begins is not waited for, and a hub that has just
	// begun to lead cannot tell yet who is.
	if wait := r.Began.Add(FirstWord).Sub(r.Now()); away && wait > 0 && (last != nil || len(request.Ran) > 0) {
		c.early, c.wake = true, wait
		return nil
	}
	if last != nil && !last.Status.Phase.Final() {
		ended := rollout.Step(last, rollout.World{Now: r.Now(), Superseded: true})
		var err error
		if last, err = r.Runs.move(ctx, last, ended.Status); err != nil {
			return err
		}
		request.Last = last
	}
	plan, err := rollout.Begin(request)
	if err != nil {
		return fmt.Errorf("plan the rollout of application %s/%s: %w", app.Namespace, app.Name, err)
	}
	c.run, err = r.Runs.create(ctx, app, plan)
	return err
}

// ran is what the clusters run of an application that had no rollout before:
// what the Book holds of them, or the recorded revision when this hub has just
// started.
func (r *Intent) ran(ctx context.Context, s *assign.State, namespace string, chosen map[string]bool) ([]v1alpha1.VersionGroup, error) {
	app := s.App
	recorded, err := r.recorded(ctx, s, namespace)
	if err != nil {
		return nil, err
	}
	key := desired.Key{Project: app.Namespace, Application: app.Name}
	var groups []v1alpha1.VersionGroup
	for _, name := range app.Status.Clusters {
		if !chosen[name] {
			continue
		}
		v := rollout.On(recorded, name)
		if e, _, ok := r.Book.Get(name, key); ok && e.Content != "" && !e.Withdrawn {
			v = versionIn(e)
			if recorded != nil && e.Revision == desired.RevisionName(app.Name, desired.Digest(recorded.Digest)) && v.Digest != recorded.Digest {
				v.Digest, v.Content = recorded.Digest, v.Digest
			}
		}
		if v != nil {
			groups = rollout.Group(groups, *v, name)
		}
	}
	return groups, nil
}

// recorded is the version of the revision that the status names, on the clusters
// that the status names.
func (r *Intent) recorded(ctx context.Context, s *assign.State, namespace string) (*v1alpha1.Version, error) {
	revision, err := r.revision(ctx, s.App)
	if revision == nil || err != nil {
		return nil, err
	}
	v, content := rollout.VersionOf(s.App, namespace, revision.Spec.Digest), depot.Recorded(revision)
	if !content.Varies() {
		return &v, nil
	}
	contents, _, err := r.variants(ctx, s.App, content, named(s.Clusters, s.App.Status.Clusters))
	var refused *depot.Refused
	if len(contents) == 0 || errors.As(err, &refused) {
		return nil, nil // not known
	}
	v = rollout.Spread(v, contents)
	return &v, err
}

// versionIn is the version that an entry asks a cluster for.
func versionIn(e desired.Entry) *v1alpha1.Version {
	v := &v1alpha1.Version{Digest: string(e.Content), Namespace: e.Namespace, LateBinding: e.Bindings != nil}
	for name, value := range e.Bindings {
		if variable, ok := strings.CutPrefix(name, "var."); ok {
			if v.Variables == nil {
				v.Variables = map[string]string{}
			}
			v.Variables[variable] = value
		}
	}
	return v
}

// members are a run's clusters as they speak of what they are asked for now.
func (r *Intent) members(app *v1alpha1.Application, run *v1alpha1.RolloutRun, chosen map[string]bool) map[string]rollout.Member {
	key := desired.Key{Project: app.Namespace, Application: app.Name}
	course, members := rollout.NewCourse(run), map[string]rollout.Member{}
	for _, wave := range run.Spec.Plan.Waves {
		for _, name := range wave.Clusters {
			e, want, _ := r.Book.Get(name, key)
			m := member(r.Fleet.Member(name, key, want, r.Now(), r.Heartbeat), chosen[name])
			if v := course.Version(name); v == nil || e.Withdrawn || !rollout.Same(*versionIn(e), *v) {
				// It answers for what it was told before: the version is refused for
				// it, or could not be entered yet.
				m.Passed, m.Failing, m.Reading, m.Verification = false, false, nil, nil
				if e.Hold {
					m.Why = "the change is kept from it, see the application's condition Accepted"
				}
			}
			members[name] = m
		}
	}
	return members
}

func member(m observed.Member, chosen bool) rollout.Member {
	current := m.Current() && m.Connection == v1alpha1.Connected
	// Drift is somebody else's doing, on what was applied in full.
	applied := m.State.Sync == report.InSync || m.State.Sync == report.Drifted
	var verification *report.Verification
	if current {
		verification = m.State.Verification
	}
	return rollout.Member{
		Reading: reading(m, current), Verification: verification,
		Connected: m.Connection == v1alpha1.Connected,
		Passed:    current && applied && m.State.Health == report.HealthHealthy,
		Failing:   current && (m.State.Sync == report.Failed || m.State.Health == report.HealthDegraded),
		Gone:      !chosen,
		Why:       m.Why(),
	}
}

// reading is what gates judge, but for the cluster's own fields.
func reading(m observed.Member, current bool) *rollout.Reading {
	if !current {
		return nil
	}
	verdict := report.Verdict("")
	if v := m.State.Verification; v != nil {
		verdict = v.Verdict
	}
	return &rollout.Reading{Report: rollout.ReportReading{
		Verification: string(verdict),
		Objects:      int64(m.State.Objects), Applied: int64(m.State.Applied), Ready: int64(m.State.Ready), Assumed: int64(m.State.Assumed),
		Corrections: m.State.Corrections, Drifted: m.State.Sync == report.Drifted,
	}}
}

// readable is a cluster's fields, as gates name them.
func readable(c *v1alpha1.Cluster) rollout.ClusterReading {
	return rollout.ClusterReading{
		Name: c.Name, Labels: c.Labels, Provider: c.Spec.Provider, Region: c.Spec.Region, Jurisdiction: c.Spec.Jurisdiction,
	}
}

// told is the condition that a run gives its application.
func (c course) told() assign.Condition {
	run := c.run
	if c.frozen != nil && c.waits {
		message := c.frozen.Why()
		if run != nil && !run.Status.Phase.Final() {
			message += "; rollout " + rollout.Describe(run)
		}
		return assign.Condition{Reason: v1alpha1.ConditionFrozen, Message: "a change waits: " + message}
	}
	if c.early {
		return assign.Condition{Reason: string(v1alpha1.RolloutProgressing), Message: "a rollout begins when the clusters have had time to connect to the hub, which has just started"}
	}
	phase := run.Status.Phase
	switch phase {
	case v1alpha1.RolloutComplete:
		return assign.Condition{True: true, Reason: string(phase), Message: fmt.Sprintf("rollout %s is complete", run.Name)}
	case v1alpha1.RolloutRollingBack:
		return assign.Condition{Reason: string(phase), Message: fmt.Sprintf("rollout %s is taken back", run.Name)}
	case "", v1alpha1.RolloutProgressing:
		// How far it is changes with every cluster, and stands in the run.
		return assign.Condition{Reason: string(v1alpha1.RolloutProgressing), Message: fmt.Sprintf("rollout %s is under way", run.Name)}
	}
	return assign.Condition{Reason: string(phase), Message: "rollout " + rollout.Describe(run)}
}

// Travelling tells whether what an application's clusters say moves a rollout.
func (r *Intent) Travelling(key desired.Key) bool {
	return r.Runs.Under(types.NamespacedName{Namespace: key.Project, Name: key.Application})
}
