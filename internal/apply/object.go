package apply

import (
	"time"

	"github.com/cespare/xxhash/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/phase"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/syncoption"
)

// object is one object of an entry as the engine works on it; Engine.mu guards it.
type object struct {
	id    ID
	ref   report.ObjectRef
	entry *entry
	kind  kind

	// source is the manifest; nil when the entry does not want the object.
	source *content.Object
	// body is the rendered manifest until it is accepted; afterwards it is
	// rendered again when needed, so that memory holds neither twice.
	body []byte
	want uint64 // hash of the rendered manifest
	// giveUp are fields left to others once the object exists.
	giveUp     drift.Paths
	giveUpHash uint64
	exact      drift.Paths
	options    syncoption.Options // of the manifest
	stage      int                // the step of the delivery, or phase.Aside
	hook       *phase.Mark        // nil for what is kept as it is
	blocked    string             // why the member forbids it

	rec *record // nil until the API server accepted it

	// What is known of the live object.
	seen        bool
	missing     bool
	vanished    bool // a watch said so, and nobody looked
	replaced    bool // another UID stands at the name
	terminating bool
	uid         string
	version     string // resourceVersion
	unrecorded  bool   // it carries our field manager and no baseline is known
	drift       []drift.Change
	additions   bool // others added to a map or list that is to be exact
	recheck     bool // read it before deciding
	regain      bool // a field is as it should be, but no longer ours
	ownPause    map[string]string
	pause       drift.Pause
	health      verdict
	trouble     string // why its pods will not become ready
	firstSeen   time.Time
	judgeAt     time.Time // when silence may be taken for health

	// How the work goes.
	busy      bool
	stash     *sighting // the newest event while busy
	attempted bool
	again     bool   // somebody asked to have it applied once more
	forced    bool   // and deleted and made anew, where it cannot be changed
	stuck     bool   // it cannot be changed
	remake    bool   // deletion is approved, to make it anew
	remade    bool   // and accepted by the API server
	spared    string // why it is not deleted to be made anew, though somebody asked
	doubtful  bool   // whether it was ever applied is to be found out
	weighed   bool   // it was held against what was recorded
	remove    bool   // deletion is approved
	stays     bool   // it is not deleted, as of the last plan
	deleting  bool   // and accepted by the API server
	failures  int
	refused   int // those of the failures that use up the application's attempts
	problem   *report.Problem
	notBefore time.Time
	// troubled is when the first failure in a row happened, of the intent
	// that was troubledBy.
	troubled   time.Time
	troubledBy desired.Digest
	fights     int // corrections in a row
	fightFrom  time.Time
	calmUntil  time.Time // no correction before, because somebody fights it
}

// sighting is one live state of an object, from a watch or a response.
type sighting struct {
	meta    metav1.Object
	full    map[string]any // nil when only metadata is known
	deleted bool
	entry   uint64 // drift.EntryHash of our manager
}

func (o *object) wanted() bool { return o.source != nil }

// kept tells what is no longer asked for and stays, as its annotations say.
func (o *object) kept() bool {
	return !o.wanted() && !o.remove && o.stays
}

// applied tells that the API server accepted just what is wanted now.
func (o *object) applied() bool {
	if o.hook != nil {
		return o.over()
	}
	return o.rec != nil && o.rec.Accepted == o.want && o.rec.GivenUp == o.giveUpHash && o.blocked == "" &&
		o.seen && !o.missing && !o.vanished && !o.replaced
}

// step is what an object needs next.
type step int

const (
	idle     step = iota
	create        // first touch
	deliver       // another content, or other fields given up
	correct       // force back what someone else changed
	recreate      // someone deleted it
	check         // read it
	remove        // delete it
	trace         // see whether it is there, and ours
	weigh         // see whether it is later than what was recorded
	launch        // make the object of a hook
	discard       // delete it as its policy says
	remake        // delete it, to make it anew
)

func (s step) priority() priority {
	switch s {
	case correct, recreate, check:
		return urgent
	}
	return ordinary
}

// next decides the step; what is only remembered is weighed before it is written.
func (o *object) next(now time.Time) step {
	s := o.due(now)
	switch {
	case o.entry.overtaken:
		return idle
	case o.entry.recalled && !o.weighed && (s == create || s == deliver || s == correct):
		return weigh
	}
	return s
}

// due is the step for what is asked; paused and Report mode hold corrections only.
func (o *object) due(now time.Time) step {
	switch {
	case o.remove && o.deleting:
		if o.recheck {
			return check
		}
		return idle
	case o.remove:
		return remove
	case !o.wanted() && o.doubtful && o.rec == nil:
		return trace
	case (o.recheck || o.replaced) && o.kept():
		return check // somebody may have deleted it, as it is theirs to do
	case !o.wanted() || o.blocked != "" || o.terminating && o.hook == nil:
		return idle
	case o.hook != nil:
		return o.hookStep(o.recheck || !o.judgeAt.IsZero() && !now.Before(o.judgeAt))
	case o.rec == nil:
		return create
	case o.missing, o.vanished:
		if o.corrects(now) || o.rec.Accepted != o.want || o.remade {
			return recreate
		}
		if o.vanished {
			return check
		}
		return idle
	case o.recheck, !o.judgeAt.IsZero() && !now.Before(o.judgeAt):
		return check
	case o.mayGo():
		return remake
	case o.rec.Accepted != o.want || o.rec.GivenUp != o.giveUpHash || o.regain:
		return deliver
	case (o.drifted() || o.replaced) && o.corrects(now):
		return correct
	case o.again:
		return deliver
	}
	return idle
}

func (o *object) drifted() bool { return len(o.drift) > 0 || o.additions }

// corrects tells whether what others changed is forced back at now.
func (o *object) corrects(now time.Time) bool {
	return (o.again || o.entry.want.Policy.DriftMode != v1alpha1.DriftReport) && !o.pause.Holds(now)
}

// hashPaths tells one set of given-up fields from another; 0 for none.
func hashPaths(paths drift.Paths) uint64 {
	if len(paths) == 0 {
		return 0
	}
	h := xxhash.New()
	for _, p := range paths {
		_, _ = h.WriteString(p.String())
		_, _ = h.Write([]byte{0})
	}
	return max(h.Sum64(), 1)
}

// succeed forgets failures.
func (o *object) succeed() {
	o.tryAnew()
	o.troubled = time.Time{}
}

// tryAnew makes another attempt due, which proves nothing yet.
func (o *object) tryAnew() {
	o.problem, o.failures, o.refused, o.notBefore = nil, 0, 0, time.Time{}
	o.stuck = false // what was refused before is no reason to delete it now
	o.notToGo()
}
