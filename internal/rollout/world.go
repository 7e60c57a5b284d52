package rollout

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"atoll.dev/atoll/internal/report"
)

// Member is what a cluster says of the version that the run asks it for now.
type Member struct {
	// Connected is whether it is heard.
	Connected bool
	// Passed and Failing speak of exactly that version, as reported over the
	// link that is open: in sync and healthy; not to be applied, or Degraded.
	Passed, Failing bool
	// Gone means that nothing is expected of it: it left the placement.
	Gone bool
	Why  string
	// Reading is what gates judge; nil while nothing is known of that version.
	Reading *Reading
	// Verification is what tries exactly that version says; nil when nothing does.
	Verification *report.Verification
}

// World is what is known at one moment.
type World struct {
	Now time.Time
	// Since is when every cluster that is there can have spoken to this hub; the
	// silence before counts against none.
	Since   time.Time
	Members map[string]Member
	// Superseded tells that a later run took over.
	Superseded bool
	// Paused is the application's own wish.
	Paused bool
	// Windows are when clusters may be told of the target.
	Windows Windows
	// Frozen is why nothing new may be told to anybody; empty when it may.
	Frozen string
}

// failing are the begun clusters that fail, sorted; else those whose verification
// has failed.
func (s *step) failing() []string {
	if failing := s.begunWhere(func(m Member) bool { return m.Failing && m.Connected && !m.Gone }); len(failing) > 0 {
		return failing
	}
	return s.disproved()
}

// late are clusters of this wave that hold it back beyond the deadline.
func (s *step) late() []string {
	if s.idle() < s.plan.ProgressDeadline.Duration || s.finished() {
		return nil
	}
	return s.missing()
}

// missing are the begun clusters of this wave that have not passed, sorted.
func (s *step) missing() []string {
	var missing []string
	from, to := s.bounds()
	for _, name := range s.all[min(from, s.status.Started):min(to, s.status.Started)] {
		if !s.member(name).Passed && !s.excused(name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

// present tells that somebody in this wave is still expected to come.
func (s *step) present() bool {
	from, to := s.bounds()
	return slices.ContainsFunc(s.all[from:to], func(name string) bool { return !s.member(name).Gone })
}

// excused is a cluster of which nothing is expected: it left, or it was away
// when the run began and still is, as far as this hub can tell.
func (s *step) excused(name string) bool {
	m := s.member(name)
	_, absent := slices.BinarySearch(s.plan.Absent, name)
	return m.Gone || absent && !m.Connected && s.early() <= 0
}

// early is how long until this hub can have heard everybody.
func (s *step) early() time.Duration { return s.world.Since.Sub(s.world.Now) }

// room is how many clusters of a wave of n may be under way at once.
func (s *step) room(n int) int {
	if s.plan.MaxUnavailable == nil {
		return n
	}
	room, err := intstr.GetScaledValueFromIntOrPercent(s.plan.MaxUnavailable, n, true)
	if err != nil {
		return 1
	}
	return max(1, room)
}

// bounds are where this wave begins and ends in the order of all clusters.
func (s *step) bounds() (from, to int32) {
	for i, wave := range s.plan.Waves {
		from, to = to, to+int32(len(wave.Clusters))
		if i == int(s.status.Wave) {
			return from, to
		}
	}
	return to, to
}

func (s *step) begun() []string { return s.all[:s.status.Started] }

func (s *step) begunWhere(is func(Member) bool) []string {
	found := slices.DeleteFunc(slices.Clone(s.begun()), func(name string) bool { return !is(s.member(name)) })
	slices.Sort(found)
	return found
}

func (s *step) member(name string) Member {
	m, known := s.world.Members[name]
	if !known {
		return Member{Gone: true}
	}
	if s.fresh[name] {
		m.Passed, m.Failing, m.Reading, m.Verification, m.Why = false, false, nil, nil, "it is being told"
	}
	return m
}
