package agent

import (
	"slices"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/wire"
)

// verdict is what an agent makes of a root that a hub announced.
type verdict struct {
	// Effective is the root to enforce.
	Effective desired.Root
	// Held are keys for which the announced intent is not followed.
	Held map[desired.Key]string
	// Follow tells that the hub's incarnation is followed from now on.
	Follow bool
}

// judge decides what of an announced root is obeyed. A hub of the incarnation
// that was followed before is obeyed whole. A hub with another history was
// restored from a backup or rebuilt: whatever the agent has newer or more of
// is held until a person accepts that history, so an old backup never deletes.
func judge(have, announced desired.Root, seen, now wire.Stamp, accepted string) verdict {
	follow := now.Succeeds(seen) || accepted == now.Incarnation
	v := verdict{Held: map[desired.Key]string{}, Follow: true}
	if follow && !holds(announced) {
		v.Effective = announced // with the digests that are known of it
		return v
	}
	entries := make([]desired.Entry, 0, len(announced.Entries))
	for _, e := range announced.Entries {
		old, had := have.Get(e.Key)
		switch {
		case e.Hold && had:
			entries = append(entries, old)
		case e.Hold:
			// There is nothing to keep.
		case !follow && had && older(e, old):
			v.hold(e.Key, "the hub asks for less than this cluster has")
			entries = append(entries, old)
		default:
			entries = append(entries, e)
		}
	}
	if !follow {
		for _, old := range have.Entries {
			if _, still := announced.Get(old.Key); !still {
				v.hold(old.Key, "the hub does not know this application")
				entries = append(entries, old)
			}
		}
	}
	v.Effective, _ = desired.NewRoot(entries) // keys of two sorted roots, each taken once
	return v
}

// holds tells that something is asked to be kept as it is.
func holds(r desired.Root) bool {
	return slices.ContainsFunc(r.Entries, func(e desired.Entry) bool { return e.Hold })
}

func (v *verdict) hold(k desired.Key, why string) {
	v.Held[k] = why
	v.Follow = false
}

// older reports whether e is behind old: of an earlier generation, or a
// withdrawal that the agent never saw while it followed the earlier history.
func older(e, old desired.Entry) bool {
	if e.UID != old.UID {
		return true
	}
	return e.Generation < old.Generation || e.Withdrawn && !old.Withdrawn
}

const heldReason = "HubOlderThanAgent"

// overlay states what is held, and answers for entries that were asked to be
// kept with the digest the hub knows.
func overlay(states map[desired.Key]report.State, announced desired.Root, v verdict) map[desired.Key]report.State {
	if len(v.Held) == 0 && !holds(announced) {
		return states
	}
	out := make(map[desired.Key]report.State, len(states))
	for k, s := range states {
		e, ok := announced.Get(k)
		if why, held := v.Held[k]; held {
			s.Sync = report.Held
			s.Message = why + "; it keeps what it has until: atoll accept CLUSTER --incarnation"
			// First, for it is what a person must know before all else.
			s.Problems = slices.Insert(slices.Clone(s.Problems), 0, report.Problem{
				Object: report.ObjectRef{Kind: "Application", Name: k.Application}, Reason: heldReason, Message: s.Message,
			})
			if ok {
				s.Entry = e.Digest()
			}
		} else if ok && e.Hold {
			s.Entry = e.Digest()
		}
		out[k] = s.Bounded()
	}
	return out
}
