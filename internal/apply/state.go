package apply

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/health"
	"atoll.dev/atoll/internal/report"
)

// silence is how long health is believed while the member's API is away.
const silence = 30 * time.Second

// stateOf is what to report of an entry; e.mu is held.
func (e *Engine) stateOf(en *entry) report.State {
	since, down := e.reach.Since()
	if !en.stale && !down {
		return en.state
	}
	now := e.clock()
	s := e.summarize(en, now)
	if down {
		s.Message = "member API unreachable since " + since.UTC().Format(time.RFC3339)
		if now.Sub(since) >= silence {
			s.Health = report.HealthUnknown
		}
	}
	if s.Sync == en.state.Sync && s.Health == en.state.Health && s.Entry == en.state.Entry {
		s.Since = en.state.Since
	} else {
		s.Since = report.Time(now)
	}
	s = s.Bounded()
	en.state, en.stale = s, down // an outage changes what is said with time
	return s
}

// tally is what a pass over the objects finds.
type tally struct {
	problems         []report.Problem
	drift            []report.Change
	failed, held     bool
	drifted, pending bool
	removing, paused int
	healths          []report.Health
	unwell           *object
	unwellWhy        string
	degraded         bool // unwell speaks of a degraded object
	ignoredPause     string
	awaited          string // what may still settle by itself
	waits            string // what the next step waits for
}

// note keeps what is unwell: of the worst the first.
func (t *tally) note(degraded bool, o *object, why string) {
	switch {
	case t.unwell == nil, degraded && !t.degraded, degraded == t.degraded && o.id.Compare(t.unwell.id) < 0:
		t.unwell, t.unwellWhy, t.degraded = o, why, degraded
	}
}

// await keeps one problem that may pass, of the first object.
func (t *tally) await(p *report.Problem) {
	if s := fmt.Sprintf("%s: %s: %s", p.Object, p.Reason, p.Message); t.awaited == "" || s < t.awaited {
		t.awaited = s
	}
}

// sort makes equal situations equal reports, whatever the order of maps.
func (t *tally) sort() {
	slices.SortFunc(t.problems, func(a, b report.Problem) int {
		return cmp.Or(cmp.Compare(a.Object.String(), b.Object.String()), cmp.Compare(a.Reason, b.Reason))
	})
	slices.SortFunc(t.drift, func(a, b report.Change) int {
		return cmp.Or(cmp.Compare(a.Object.String(), b.Object.String()), cmp.Compare(a.Path, b.Path))
	})
}

func (e *Engine) summarize(en *entry, now time.Time) report.State {
	s := report.State{Key: en.want.Key, Entry: en.digest, Revision: en.want.Revision, Corrections: en.corrections}
	t := tally{pending: en.taken != en.digest || en.overtaken}
	for _, o := range en.objects {
		e.count(&s, &t, o, now)
	}
	if en.taken != en.digest {
		s.Applied, s.Ready, s.Assumed = 0, 0, 0 // that was another digest
	}
	e.countRest(en, &s, &t, now)
	s.Verification = e.verification(en)
	t.waits = e.waitsFor(en)
	t.sort()
	t.problems = append(slices.Clone(en.problems), t.problems...)
	if v := s.Verification; v != nil && v.Verdict == report.VerificationFailed {
		t.problems = append(t.problems, report.Problem{Object: v.Object, Reason: verificationFailed, Message: v.Message})
	}
	t.failed = t.failed || en.refused
	e.conclude(en, &s, t)
	return s
}

// countRest adds what the entry wants and does not have, and what it holds back.
func (e *Engine) countRest(en *entry, s *report.State, t *tally, now time.Time) {
	for id, ref := range en.waiting {
		s.Objects++
		t.held = true
		owner := "another application"
		if o, ok := e.objects[id]; ok {
			owner = "app/" + o.entry.want.Key.Application
			if o.entry.want.Key.Project != en.want.Key.Project {
				owner += " of project " + o.entry.want.Key.Project
			}
		}
		t.problems = append(t.problems, report.Problem{Object: ref, Reason: "OwnedBy", Message: owner + " owns it on this cluster; remove it from one of the two"})
	}
	for id, ref := range en.unmapped {
		s.Objects++
		t.pending = true
		p := report.Problem{Object: ref, Reason: "NoKind", Message: "the member does not serve this kind; it is applied as soon as its definition arrives"}
		switch {
		case !en.prepared || en.left[0] > 0 || en.absent[id] > en.stage:
		case settling(en.unmappedSince, now):
			t.await(&p)
		default:
			t.failed = true
			t.problems = append(t.problems, p)
		}
	}
	if en.heldWhy != "" {
		t.held = true
		s.HeldDeletion = en.pruning.Digest
		t.problems = append(t.problems, report.Problem{Object: en.held[0].ID.Ref(""), Reason: "DeletionHeld", Message: clip(en.heldWhy)})
	}
	if e.storeErr != nil && e.unsaved[en.want.Key] {
		t.problems = append(t.problems, report.Problem{Object: report.ObjectRef{Kind: "Secret", Namespace: systemNamespace, Name: "atoll-store"}, Reason: "StoreFull", Message: clip("the local store cannot be written: " + e.storeErr.Error())})
	}
}

// count adds one object.
func (e *Engine) count(s *report.State, t *tally, o *object, now time.Time) {
	if !o.wanted() {
		// Its deletion waits too, or is not decided on before all is applied and looked for.
		undecided := o.entry.stage == barred || o.entry.left != [2]int{}
		t.pending = t.pending || o.rec != nil && undecided || o.rec == nil && o.doubtful
		if o.remove {
			t.removing++
		}
		if o.remove {
			e.countTrouble(t, o, now)
		}
		return
	}
	if o.hook != nil && (o.verifies() || o.silent()) {
		return
	}
	s.Objects++
	if o.blocked != "" {
		t.failed = true
		t.problems = append(t.problems, report.Problem{Object: o.ref, Reason: "Forbidden", Message: clip(o.blocked)})
		return
	}
	e.countTrouble(t, o, now)
	if o.hook != nil {
		e.countHook(s, t, o)
		return
	}
	e.countDrift(t, o, now)
	switch {
	case o.applied():
		s.Applied++
	case o.missing && !o.corrects(now), o.replaced && !o.corrects(now):
	default:
		t.pending = true
		return
	}
	h := o.condition()
	t.healths = append(t.healths, h.health)
	if h.health == report.HealthHealthy {
		s.Ready++
		if h.assumed {
			s.Assumed++
		}
		return
	}
	t.note(h.health == report.HealthDegraded, o, cmp.Or(h.message, "nothing is known of it yet"))
	if h.health == report.HealthDegraded {
		t.problems = append(t.problems, report.Problem{Object: o.ref, Reason: "Unhealthy", Message: clip(h.message)})
	}
}

// countHook adds a hook: one that succeeded is healthy, whatever became of its
// object since.
func (e *Engine) countHook(s *report.State, t *tally, o *object) {
	switch h := o.condition(); {
	case o.ran() == runSucceeded:
		s.Applied++
		s.Ready++
		t.healths = append(t.healths, report.HealthHealthy)
	case o.ran() == runFailed:
		t.failed = true
		t.problems = append(t.problems, report.Problem{Object: o.ref, Reason: "HookFailed", Message: o.entry.runs[o.id].Why})
	default:
		t.pending = true
		if o.ran() == runMade && h.health == report.HealthDegraded {
			t.problems = append(t.problems, report.Problem{Object: o.ref, Reason: "Unhealthy", Message: clip(h.message)})
		}
	}
}

// countTrouble adds what keeps an object from being as it should.
func (e *Engine) countTrouble(t *tally, o *object, now time.Time) {
	switch {
	case o.problem == nil:
	case o.fails(now):
		t.failed = true
		t.problems = append(t.problems, *o.problem)
	default:
		t.await(o.problem)
	}
}

// countDrift adds what stays drifted: in Report mode, while paused, or because
// correcting fails.
func (e *Engine) countDrift(t *tally, o *object, now time.Time) {
	if o.pause.Ignored != "" {
		t.ignoredPause = o.pause.Ignored
	}
	if o.pause.Holds(now) {
		t.paused++
	}
	if o.corrects(now) && o.problem == nil && !now.Before(o.calmUntil) {
		return
	}
	changes := o.drift
	if (o.missing || o.replaced) && len(changes) == 0 && o.rec != nil {
		changes = []drift.Change{{Gone: true}}
	}
	if len(changes) == 0 && !o.additions {
		return
	}
	t.drifted = true
	t.drift = append(t.drift, described(o, e.manifestOf(o), changes, false)...)
}

// manifestOf renders an object for the values that drift replaced. Secrets are
// left out: their values are hidden anyway, and asking for them with the lock
// held would let the caller's locks and ours wait for each other.
func (e *Engine) manifestOf(o *object) map[string]any {
	if o.source == nil || len(o.source.Values) > 0 {
		return nil
	}
	obj, err := renderOne(o.source, o.entry.want, o.kind, nil)
	if err != nil {
		return nil
	}
	return obj.Object
}

// conclude draws the axes and the sentence from the tally.
func (e *Engine) conclude(en *entry, s *report.State, t tally) {
	switch {
	case en.gone:
		s.Sync = report.Withdrawn
	case t.failed:
		s.Sync = report.Failed
	case t.held:
		s.Sync = report.Held
	case t.drifted:
		s.Sync = report.Drifted
	case t.pending, t.removing > 0, en.want.Withdrawn:
		s.Sync = report.Progressing
	default:
		s.Sync = report.InSync
	}
	s.Health = health.Worst(t.healths...)
	if en.taken != en.digest || s.Applied < s.Objects && !t.drifted || en.want.Withdrawn {
		s.Health = report.HealthUnknown // silence is never health
	}
	s.Problems = t.problems
	if stays := en.staying(); len(stays) > 0 {
		s.Problems = append(s.Problems, report.Problem{Object: stays[0].ID.Ref(""), Reason: report.Kept, Message: clip(inWords(stays))})
	}
	if len(s.Problems) > report.MaxProblems {
		s.Problems = s.Problems[:report.MaxProblems]
	}
	s.Drift = append(slices.Clone(en.changes), t.drift...)
	if extra := len(s.Drift) - report.MaxChanges; extra > 0 {
		s.Drift = s.Drift[extra:]
	}
	s.Message = clip(sentence(en, *s, t))
}

// sentence is the one thing to say first.
func sentence(en *entry, s report.State, t tally) string {
	switch {
	case s.Sync == report.Withdrawn && len(en.leftBehind) > 0:
		return "let go; nothing of it is managed here any more; " + inWords(en.leftBehind)
	case s.Sync == report.Withdrawn:
		return "let go; nothing of it is managed here any more"
	case len(t.problems) > 0 && (t.failed || t.held):
		p := t.problems[0]
		return fmt.Sprintf("%s: %s: %s", p.Reason, p.Object, p.Message)
	case len(t.problems) > 0 && en.taken != en.digest:
		return t.problems[0].Reason + ": " + t.problems[0].Message
	case en.overtaken:
		return "what runs here is newer than what the agent had stored; it stays as it is until the hub has spoken"
	case t.drifted && t.paused > 0:
		return fmt.Sprintf("%d fields changed by others; correction is paused", len(t.drift))
	case t.drifted:
		return fmt.Sprintf("%d fields changed by others", len(t.drift))
	case t.removing > 0:
		return fmt.Sprintf("deleting %d objects", t.removing)
	case s.Sync == report.Progressing && t.awaited != "":
		return fmt.Sprintf("%d of %d objects applied; trying again: %s", s.Applied, s.Objects, t.awaited)
	case s.Sync == report.Progressing && t.waits != "":
		return fmt.Sprintf("%d of %d objects applied; waits for %s", s.Applied, s.Objects, t.waits)
	case s.Sync == report.Progressing:
		return fmt.Sprintf("%d of %d objects applied", s.Applied, s.Objects)
	case t.unwell != nil:
		return fmt.Sprintf("%s: %s", t.unwell.id, t.unwellWhy)
	case s.Verification != nil && s.Verification.Verdict != report.VerificationPassed:
		return "verification: " + s.Verification.String()
	case t.paused > 0:
		return fmt.Sprintf("correction is paused for %d objects", t.paused)
	}
	return t.ignoredPause
}

func sortedIDs(objects map[ID]*object) []ID {
	ids := make([]ID, 0, len(objects))
	for id := range objects {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, ID.Compare)
	return ids
}
