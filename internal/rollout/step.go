package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// Confirm is for how long a cluster must fail before the run believes it: pods
// that restart once while others come up are no reason to take a fleet back.
const Confirm = 15 * time.Second

// windowLook is how often a run that waits for a window looks at the clock, which
// somebody may set.
const windowLook = time.Hour

// maxFailed is how many failed clusters a status names.
const maxFailed = 10

// Outcome is where the run stands, and when to look again if nobody says
// anything; zero means not before somebody does.
type Outcome struct {
	Status v1alpha1.RolloutRunStatus
	Wake   time.Duration
}

// Step moves a run on as far as the world allows. Twice the same gives the same.
func Step(run *v1alpha1.RolloutRun, w World) Outcome {
	w.Now = w.Now.Truncate(time.Second) // as it is stored
	w.Since = w.Since.Truncate(time.Second)
	s := &step{plan: &run.Spec.Plan, control: run.Spec.Control, status: *run.Status.DeepCopy(), world: w, fresh: map[string]bool{}}
	for _, wave := range s.plan.Waves {
		s.all = append(s.all, wave.Clusters...)
	}
	s.rewound()
	s.status.Started = min(max(s.status.Started, 0), int32(len(s.all)))
	switch {
	case s.status.Phase.Final():
	case w.Frozen != "":
		s.freeze()
	default:
		s.decide()
		if early := s.early(); early > 0 && !s.status.Phase.Final() {
			s.wakeIn(early)
		}
	}
	return Outcome{Status: s.status, Wake: s.wake}
}

type step struct {
	plan    *v1alpha1.RolloutPlan
	control v1alpha1.RolloutControl
	status  v1alpha1.RolloutRunStatus
	world   World
	all     []string // clusters in the order of their turns
	// fresh are told in this very step: what is known of them is of the version
	// before.
	fresh map[string]bool
	wake  time.Duration
}

func (s *step) decide() {
	s.status.Clusters = int32(len(s.all))
	switch {
	case s.world.Superseded && s.status.Phase == v1alpha1.RolloutRollingBack:
		// They were told to go back, and must not be told of the target again
		// while they wait for their turn.
		s.finish(v1alpha1.RolloutRolledBack, "another change took over while "+s.status.Message)
	case s.world.Superseded:
		s.finish(v1alpha1.RolloutSuperseded, "another change took over")
	case s.status.Phase == v1alpha1.RolloutRollingBack:
		s.goBack()
	case s.control.Aborted:
		s.turnBack("aborted")
	case s.status.Phase == v1alpha1.RolloutHalted && s.control.Resumed <= s.status.Resumed:
		s.count()
	default:
		if s.status.Phase == v1alpha1.RolloutHalted {
			s.status.Resumed, s.status.Failed, s.status.FailingAt = s.control.Resumed, nil, nil
			s.progressed()
		}
		s.status.Phase = v1alpha1.RolloutProgressing // until something stands in the way
		s.advance()
	}
}

// freeze lets the run stand where it is. No time of a freeze counts: not as
// soaking, nor as failing, nor against a deadline.
func (s *step) freeze() {
	s.status.Clusters = int32(len(s.all))
	if s.status.Phase != v1alpha1.RolloutRollingBack {
		s.count()
	}
	s.status.ProgressAt, s.status.HealthyAt, s.status.FailingAt, s.status.GatedAt = nil, nil, nil, nil
	switch s.status.Phase {
	case v1alpha1.RolloutHalted, v1alpha1.RolloutRollingBack:
		// Why it halted, or goes back, is what must be known after the thaw.
	default:
		s.status.Phase = v1alpha1.RolloutPaused
		s.say("%s", s.world.Frozen)
	}
}

// advance begins clusters, and waves, as long as nothing is in the way.
func (s *step) advance() {
	for {
		s.count()
		if s.failed() {
			return
		}
		if s.finished() {
			s.finish(v1alpha1.RolloutComplete, s.completeMessage())
			return
		}
		if !s.begin() && !s.pass() {
			return
		}
	}
}

// count takes what the clusters say. More that have passed is progress.
func (s *step) count() {
	passed := int32(0)
	for _, name := range s.begun() {
		if s.member(name).Passed {
			passed++
		}
	}
	if passed > s.status.Passed {
		s.progressed()
	}
	s.status.Passed = passed
	s.status.Waves = fmt.Sprintf("%d/%d", min(int(s.status.Wave)+1, len(s.plan.Waves)), len(s.plan.Waves))
}

// failed reports whether clusters fail, and does what is then to be done.
func (s *step) failed() bool {
	failing := s.failing()
	if len(failing) == 0 {
		s.status.FailingAt = nil
		late := s.late()
		if len(late) == 0 {
			return false
		}
		s.fail(late, fmt.Sprintf("no progress for %s: ", s.plan.ProgressDeadline.Duration))
		return true
	}
	s.status.HealthyAt = nil
	if s.status.FailingAt == nil {
		s.status.FailingAt = &metav1.Time{Time: s.world.Now}
	}
	if left := Confirm - s.since(s.status.FailingAt); left > 0 {
		s.status.Phase = v1alpha1.RolloutProgressing
		s.say("%s; it counts in %s", s.named(failing), left.Round(time.Second))
		s.wakeIn(left)
		return true
	}
	s.fail(failing, "")
	return true
}

// fail halts the run or turns it back.
func (s *step) fail(names []string, prefix string) { s.failFor(names, prefix+s.named(names)) }

func (s *step) failFor(names []string, why string) {
	s.status.Failed = names[:min(len(names), maxFailed)]
	s.status.HealthyAt = nil
	if s.plan.OnFailure == v1alpha1.Rollback {
		s.turnBack(why)
		return
	}
	s.status.Phase, s.status.FailingAt = v1alpha1.RolloutHalted, nil
	s.say("%s", why)
}

// begin tells as many clusters of this wave as may be under way at once, and
// reports whether it told any.
func (s *step) begin() bool {
	from, to := s.bounds()
	if s.status.Started >= to {
		return false
	}
	if s.control.Paused || s.world.Paused {
		s.status.Phase = v1alpha1.RolloutPaused
		s.say("paused before %s", s.all[s.status.Started])
		return false
	}
	promoted := s.control.Promoted > s.status.Wave
	if !promoted && !s.world.Windows.Open(s.world.Now) {
		s.status.Phase = v1alpha1.RolloutWaiting
		s.say("wave %d %s", s.status.Wave+1, s.world.Windows.Why(s.world.Now))
		s.wakeIn(min(s.world.Windows.Opens(s.world.Now).Sub(s.world.Now), windowLook))
		return false
	}
	if wave := s.plan.Waves[s.status.Wave]; s.status.Started == from && wave.Approval && !promoted {
		s.status.Phase = v1alpha1.RolloutWaiting
		s.say("wave %d waits for approval: %s", s.status.Wave+1, listed(wave.Clusters))
		return false
	}
	underWay := 0
	for _, name := range s.all[min(from, s.status.Started):s.status.Started] {
		if !s.member(name).Passed && !s.excused(name) {
			underWay++
		}
	}
	room := s.room(int(to-from)) - underWay
	told := false
	for s.status.Started < to && (room > 0 || s.excused(s.all[s.status.Started])) {
		if !s.excused(s.all[s.status.Started]) {
			room--
		}
		s.fresh[s.all[s.status.Started]] = true
		s.status.Started++
		told = true
	}
	if told {
		s.wakeIn(time.Second) // those that ran the version before have nothing to report
		s.status.Phase, s.status.HealthyAt = v1alpha1.RolloutProgressing, nil
		s.progressed()
		s.count()
	}
	return told
}

// pass goes on to the next wave when this one has passed and soaked, and
// reports whether it did.
func (s *step) pass() bool {
	from, to := s.bounds()
	if s.status.Phase == v1alpha1.RolloutPaused || s.status.Phase == v1alpha1.RolloutWaiting {
		if s.status.Started < to {
			return false
		}
	}
	s.status.Phase = v1alpha1.RolloutProgressing
	missing := s.missing()
	promoted := s.promotedBeyond(int(s.status.Wave))
	switch {
	case len(missing) > 0 || s.status.Started < to:
		s.status.HealthyAt = nil
		if s.status.ProgressAt == nil {
			s.progressed() // one that was away is back
		}
		s.say("wave %d: waiting for %s", s.status.Wave+1, s.named(missing))
		s.wakeIn(s.plan.ProgressDeadline.Duration - s.idle())
		return false
	case s.status.Passed == 0 && !promoted && s.present():
		s.status.HealthyAt, s.status.ProgressAt = nil, nil
		s.say("wave %d: no cluster of it is connected, so nothing proves the change; waiting for %s, or for `atoll rollout promote`", s.status.Wave+1, listed(s.all[from:to]))
		return false
	}
	s.status.ProgressAt = nil
	if s.status.HealthyAt == nil {
		s.status.HealthyAt = &metav1.Time{Time: s.world.Now}
	}
	soak := s.plan.Waves[s.status.Wave].Soak.Duration
	if left := soak - s.since(s.status.HealthyAt); left > 0 && !promoted {
		s.say("wave %d soaks for another %s", s.status.Wave+1, left.Round(time.Second))
		s.wakeIn(left)
		return false
	}
	if !promoted && s.gated() {
		return false
	}
	s.status.Wave++
	s.status.HealthyAt = nil
	s.progressed()
	return true
}

// finished tells that the last wave has passed.
func (s *step) finished() bool { return int(s.status.Wave) >= len(s.plan.Waves) }

func (s *step) completeMessage() string {
	missing := slices.DeleteFunc(slices.Clone(s.begun()), func(name string) bool { return s.member(name).Passed || s.member(name).Gone })
	if len(missing) == 0 {
		return fmt.Sprintf("in sync and healthy on all %d clusters", s.status.Clusters)
	}
	slices.Sort(missing)
	return "complete but for clusters that were away; they take it up when they return: " + listed(missing)
}

// turnBack begins to take back what was begun.
func (s *step) turnBack(why string) {
	s.status.Phase, s.status.FailingAt, s.status.HealthyAt, s.status.GatedAt = v1alpha1.RolloutRollingBack, nil, nil, nil
	s.say("rolling back: %s", why)
	s.progressed()
	s.status.Passed = 0
	if s.status.Started == 0 {
		s.finish(v1alpha1.RolloutRolledBack, "rolled back before any cluster was told: "+why)
	}
}

// goBack waits until all who are heard, or are yet to be, have gone back. What a
// cluster says is of its version before now; health of that is its own matter.
func (s *step) goBack() {
	if s.status.ProgressAt == nil {
		s.progressed() // after a freeze
	}
	var waiting []string
	for _, name := range s.begun() {
		if m := s.member(name); (m.Connected || s.early() > 0) && !m.Gone && !m.Passed && !m.Failing {
			waiting = append(waiting, name)
		}
	}
	if len(waiting) == 0 || s.idle() >= s.plan.ProgressDeadline.Duration {
		why := strings.TrimPrefix(s.status.Message, "rolling back: ")
		if len(waiting) > 0 {
			why += "; not yet back: " + listed(waiting)
		}
		s.finish(v1alpha1.RolloutRolledBack, "rolled back: "+why)
		return
	}
	s.wakeIn(s.plan.ProgressDeadline.Duration - s.idle())
}

func (s *step) finish(phase v1alpha1.RolloutPhase, message string) {
	s.status.Phase, s.status.FailingAt, s.status.HealthyAt, s.status.ProgressAt, s.status.GatedAt = phase, nil, nil, nil, nil
	s.status.FinishedAt = &metav1.Time{Time: s.world.Now}
	s.wake = 0
	s.say("%s", message)
}

func (s *step) since(t *metav1.Time) time.Duration {
	if t == nil {
		return 0
	}
	return s.world.Now.Sub(t.Time)
}

// idle is for how long nothing moved although this hub listened: that it was
// away is no fault of the clusters, and takes no fleet back.
func (s *step) idle() time.Duration { return s.listening(s.status.ProgressAt) }

// listening is how much of the time since then this hub listened.
func (s *step) listening(t *metav1.Time) time.Duration {
	if t == nil {
		return 0
	}
	return min(s.since(t), s.world.Now.Sub(s.world.Since))
}

// rewound brings times that are yet to come to now: a clock that was ahead
// would else have a wave soak until the right one has caught up.
func (s *step) rewound() {
	for _, at := range []**metav1.Time{&s.status.ProgressAt, &s.status.HealthyAt, &s.status.FailingAt, &s.status.GatedAt} {
		if *at != nil && (*at).After(s.world.Now) {
			*at = &metav1.Time{Time: s.world.Now}
		}
	}
}

func (s *step) progressed() { s.status.ProgressAt = &metav1.Time{Time: s.world.Now} }

func (s *step) wakeIn(d time.Duration) {
	if d = max(d, time.Second); s.wake == 0 || d < s.wake {
		s.wake = d
	}
}

func (s *step) say(format string, args ...any) {
	const most = 1000
	text := fmt.Sprintf(format, args...)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	s.status.Message = text
}

// named is clusters with the first one's reason.
func (s *step) named(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	text := listed(names)
	if why := s.member(names[0]).reason(); why != "" {
		text += ": " + why
	}
	return text
}

func listed(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
