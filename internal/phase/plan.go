package phase

import (
	"cmp"
	"fmt"
	"slices"
)

// Step is one stretch of a delivery: the next begins when all of it is applied
// and healthy.
type Step struct {
	Phase Phase
	Wave  int32
}

// String is "phase PreSync", or "wave 2" with the phase when it is not Sync.
func (s Step) String() string {
	switch {
	case s.Wave == 0:
		return "phase " + s.Phase.String()
	case s.Phase == Sync:
		return fmt.Sprintf("wave %d", s.Wave)
	}
	return fmt.Sprintf("wave %d of phase %s", s.Wave, s.Phase)
}

func (s Step) compare(o Step) int {
	return cmp.Or(cmp.Compare(s.Phase, o.Phase), cmp.Compare(s.Wave, o.Wave))
}

// Aside is the step of what has no place in a delivery that goes well.
const Aside = -1

// Layout is the order of the objects of one delivery.
type Layout struct {
	// Steps has at least one.
	Steps []Step
	// At is the step of each object, in the order they were given, or Aside.
	At []int
}

// Plan lays objects out. first tells that the cluster was never delivered to.
func Plan(marks []Mark, first bool) Layout {
	l := Layout{At: make([]int, len(marks))}
	for _, m := range marks {
		if m.runs(first) {
			l.add(m.step())
		}
	}
	if len(l.Steps) == 0 {
		l.Steps = []Step{plain.step()}
	}
	for i, m := range marks {
		l.At[i] = Aside
		if m.runs(first) {
			l.At[i], _ = slices.BinarySearchFunc(l.Steps, m.step(), Step.compare)
		}
	}
	return l
}

// add keeps the steps sorted, each once.
func (l *Layout) add(s Step) {
	if i, found := slices.BinarySearchFunc(l.Steps, s, Step.compare); !found {
		l.Steps = slices.Insert(l.Steps, i, s)
	}
}

func (m Mark) step() Step { return Step{Phase: m.Phase, Wave: m.Wave} }

// runs tells what has a step in such a delivery.
func (m Mark) runs(first bool) bool {
	return m.LeftOut == "" && m.Phase != SyncFail && m.suits(first)
}

func (m Mark) suits(first bool) bool {
	return m.Occasion == Always || first == (m.Occasion == FirstDelivery)
}

// Dormant reports whether the object does nothing in such a delivery, whatever
// becomes of it.
func (m Mark) Dormant(first bool) bool { return m.LeftOut != "" || !m.suits(first) }
