package apply

import (
	"fmt"
	"slices"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/policy"
)

// victim is an object that a sync would delete, of exactly that UID.
type victim struct {
	ID  ID     `cbor:"1,keyasint"`
	UID string `cbor:"2,keyasint"`
}

// pruning is the progress of one sync's deletions; it survives restarts so
// that a budget is not spent twice and a hold is not forgotten.
type pruning struct {
	// Sync names the sync: the digest of all that decides what is deleted.
	Sync desired.Digest `cbor:"1,keyasint,omitempty"`
	// Deleted counts what this sync deleted already.
	Deleted int `cbor:"2,keyasint,omitempty"`
	// Held are withheld until a person allows Digest.
	Held    []victim `cbor:"3,keyasint,omitempty"`
	Digest  string   `cbor:"4,keyasint,omitempty"`
	Allowed bool     `cbor:"5,keyasint,omitempty"`
}

// pruneInput is all that a decision on deletions may look at.
type pruneInput struct {
	Entry desired.Entry
	// Owned is the recorded inventory; Wanted what the content asks for now.
	Owned  []victim
	Wanted map[ID]bool
	// Claimed are objects that another application waits for: they are handed
	// over, never deleted.
	Claimed map[ID]bool
	// Kept are objects that stay, as their annotations say, when they are no
	// longer asked for.
	Kept map[ID]bool
	// Forbidden tells that the member forbids deletions.
	Forbidden bool
	Progress  pruning
}

// prunePlan says what becomes of every object that is owned and not wanted.
type prunePlan struct {
	Delete []victim
	// Release are objects to forget and leave as they are.
	Release []victim
	// Kept are objects to leave as they are and to tell of.
	Kept []victim
	// Held are withheld; Why says so to a person, with how to allow it.
	Held     []victim
	Why      string
	Progress pruning
}

// syncOf is the same for entries that delete the same under the same rules.
func syncOf(e desired.Entry) desired.Digest {
	e.AllowDeletion, e.Generation, e.Revision, e.After, e.Policy.Retry = "", 0, "", nil, nil
	return e.Digest()
}

// planPrune decides on deletions. Only recorded objects are ever deleted; the
// budget counts over the whole sync; a hold stays until a person allows exactly
// its list or the intent changes.
func planPrune(in pruneInput) prunePlan {
	plan := prunePlan{Progress: in.Progress}
	if sync := syncOf(in.Entry); plan.Progress.Sync != sync {
		plan.Progress = pruning{Sync: sync}
	}
	candidates := plan.sort(in)
	if in.Forbidden {
		// Not kept in Progress: when the member allows deletions again, the
		// usual rules decide.
		if plan.Held = candidates; len(candidates) > 0 {
			plan.Why = fmt.Sprintf("%d deletions are held (%s): the member forbids deletions (ConfigMap %s in %s); only its owner can lift that",
				len(candidates), names(candidates), limitsName, systemNamespace)
		}
		return plan
	}
	allowed := in.Entry.AllowDeletion
	if p := &plan.Progress; desired.Allows(allowed, p.Digest) {
		p.Allowed = true
	}
	rest := plan.takeAllowed(candidates)
	held, why := plan.divide(in, rest)
	plan.hold(held, allowed, why)
	return plan
}

// sort finds the objects that may be deleted; those to let go it releases. What
// stays has its namespace and its definition stay, with which it would go.
func (p *prunePlan) sort(in pruneInput) (candidates []victim) {
	var kept []victim
	for _, v := range in.Owned {
		switch {
		case in.Wanted[v.ID] && !in.Entry.Withdrawn:
		case in.Claimed[v.ID], in.Entry.Withdrawn && in.Entry.Policy.OnDelete != v1alpha1.Delete, v.UID == "":
			p.Release = append(p.Release, v)
		default:
			candidates = append(candidates, v)
			if in.Kept[v.ID] {
				kept = append(kept, v)
			}
		}
	}
	candidates = slices.DeleteFunc(candidates, func(v victim) bool {
		stays := in.Kept[v.ID] || slices.ContainsFunc(kept, func(k victim) bool { return v.ID.bears(k.ID) })
		if stays {
			p.Kept = append(p.Kept, v)
		}
		return stays
	})
	for _, list := range [][]victim{candidates, p.Kept} {
		slices.SortFunc(list, func(a, b victim) int { return a.ID.Compare(b.ID) })
	}
	return candidates
}

// takeAllowed deletes what a person has allowed, whatever the budget.
func (p *prunePlan) takeAllowed(candidates []victim) (rest []victim) {
	if !p.Progress.Allowed {
		return candidates
	}
	for _, v := range candidates {
		if slices.Contains(p.Progress.Held, v) {
			p.Delete = append(p.Delete, v)
		} else {
			rest = append(rest, v)
		}
	}
	return rest
}

// divide deletes within the budget and returns what needs a person, and why.
func (p *prunePlan) divide(in pruneInput, candidates []victim) (held []victim, why string) {
	if len(candidates) == 0 {
		return nil, ""
	}
	if len(in.Wanted) == 0 && !in.Entry.Withdrawn {
		return candidates, "the source suddenly yields nothing"
	}
	budget := int(in.Entry.Policy.DeletionBudget)
	if len(candidates) > budget-p.Progress.Deleted {
		return candidates, fmt.Sprintf("one sync may delete %d", budget)
	}
	for _, v := range candidates {
		if needsConfirmation(v.ID) || !p.Progress.Allowed && slices.Contains(p.Progress.Held, v) {
			held = append(held, v)
			continue
		}
		p.Delete = append(p.Delete, v)
		p.Progress.Deleted++
	}
	return held, "Namespaces, CustomResourceDefinitions and volumes, and what was held before, are deleted only when a person names them"
}

// hold withholds objects, unless exactly these were allowed beforehand.
func (p *prunePlan) hold(held []victim, allowed, why string) {
	if len(held) == 0 {
		if !p.Progress.Allowed {
			p.Progress.Held, p.Progress.Digest = nil, ""
		}
		return
	}
	digest := digestOf(held)
	p.Progress.Held, p.Progress.Digest, p.Progress.Allowed = held, digest, desired.Allows(allowed, digest)
	if p.Progress.Allowed {
		p.Delete = append(p.Delete, held...)
		return
	}
	p.Held = held
	p.Why = fmt.Sprintf("%d deletions are held (%s): %s; to allow exactly these, annotate the application with %s=%s",
		len(held), names(held), why, v1alpha1.AnnotationAllowDeletion, digest)
}

// names lists the first few.
func names(victims []victim) string {
	const most = 3
	var out []string
	for i, v := range victims {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(victims)-most))
			break
		}
		out = append(out, v.ID.String())
	}
	return strings.Join(out, ", ")
}

// digestOf covers every object by kind, namespace, name and UID.
func digestOf(victims []victim) string {
	var b strings.Builder
	for _, v := range victims {
		fmt.Fprintf(&b, "%s %s\n", v.ID, v.UID)
	}
	return desired.Sum([]byte(b.String())).Short()
}

func needsConfirmation(id ID) bool { return policy.NeedsConfirmation(id.GroupKind()) }
