package notify

import (
	"fmt"
	"strconv"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

// told are the phases that are events of their own.
var told = map[v1alpha1.RolloutPhase]string{
	v1alpha1.RolloutHalted:      Halted,
	v1alpha1.RolloutRollingBack: RollingBack,
	v1alpha1.RolloutRolledBack:  RolledBack,
	v1alpha1.RolloutComplete:    RolloutDone,
	v1alpha1.RolloutSuperseded:  Superseded,
}

// Rollout tells how far a run came since the last look: that it began, each wave
// that passed, and the phase that it is in now.
func (s *Seen) Rollout(run *v1alpha1.RolloutRun) []Event {
	if _, over := s.over[run.UID]; over || run.DeletionTimestamp != nil {
		return nil
	}
	at := lastWrite(run)
	if run.Status.FinishedAt != nil {
		at = run.Status.FinishedAt.Time
	}
	var out []Event
	begun := event(run, RolloutBegun, "", run.CreationTimestamp.Time)
	begun.Data.Reason, begun.Data.Message = "Progressing", clip(run.Spec.Plan.Cause, maxMessage)
	if e := s.news(run.UID, "begun", "yes", &begun); e != nil {
		out = append(out, *e)
	}
	out = append(out, s.waves(run, at)...)
	for _, e := range []*Event{s.phase(run, at), s.waiting(run, at)} {
		if e != nil {
			out = append(out, *e)
		}
	}
	if run.Status.Phase.Final() {
		s.Forget(run.UID)
		s.over[run.UID] = struct{}{}
	}
	return out
}

func (s *Seen) phase(run *v1alpha1.RolloutRun, at time.Time) *Event {
	name := told[run.Status.Phase]
	key := fmt.Sprintf("%s %d %d", run.Status.Phase, run.Status.Wave, run.Status.Resumed)
	e := event(run, name, key, at)
	e.Data.Reason, e.Data.Message = string(run.Status.Phase), clip(run.Status.Message, maxMessage)
	for _, cluster := range run.Status.Failed[:min(len(run.Status.Failed), MaxNamed)] {
		e.Data.Clusters = append(e.Data.Clusters, ClusterState{Name: cluster})
	}
	if next := s.news(run.UID, "phase", key, &e); name != "" {
		return next
	}
	return nil
}

// waiting tells why a wave does not begin by itself, for its approval or its window:
// of each reason once, whatever else moves the run meanwhile.
func (s *Seen) waiting(run *v1alpha1.RolloutRun, at time.Time) *Event {
	if run.Status.Phase != v1alpha1.RolloutWaiting {
		if s.facts[run.UID]["waiting"] == "" {
			s.turn(run.UID, "waiting", "for nothing")
		}
		return nil
	}
	key := fmt.Sprintf("%d %d %s", run.Status.Wave, run.Status.Resumed, run.Status.Message)
	e := event(run, Waiting, key, at)
	e.Data.Reason, e.Data.Message = string(run.Status.Phase), clip(run.Status.Message, maxMessage)
	return s.news(run.UID, "waiting", key, &e)
}

// waves tells of those that passed since, and at the first look of the newest
// alone: the others were told of in their time.
func (s *Seen) waves(run *v1alpha1.RolloutRun, at time.Time) []Event {
	passed := run.Status.Wave
	was := s.turn(run.UID, "wave", strconv.Itoa(int(passed)))
	from := max(0, passed-1)
	if known, err := strconv.ParseInt(was, 10, 32); err == nil {
		from = int32(known)
	}
	var out []Event
	for wave := from; wave < passed; wave++ {
		e := event(run, WavePassed, strconv.Itoa(int(wave)), at)
		e.First = was == ""
		e.Data.Wave, e.Data.Message = wave+1, fmt.Sprintf("wave %d of %d has passed", wave+1, e.Data.Waves)
		out = append(out, e)
	}
	return out
}

func event(run *v1alpha1.RolloutRun, kind, key string, at time.Time) Event {
	plan := run.Spec.Plan
	return Event{
		Type: kind, UID: run.UID, Key: key, At: at, Latest: at,
		Subject: Subject{Project: run.Namespace, Application: plan.Application},
		Data: Data{
			Project: run.Namespace, Application: plan.Application, Rollout: run.Name,
			Revision: desired.RevisionName(plan.Application, desired.Digest(plan.Target.Digest)),
			Wave:     min(run.Status.Wave+1, int32(len(plan.Waves))), Waves: int32(len(plan.Waves)),
		},
	}
}
