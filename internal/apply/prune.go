package apply

// withdraw lets go of an application as its policy says; e.mu is held.
func (e *Engine) withdraw(en *entry) {
	en.prepared, en.taken, en.problems, en.refused = true, en.digest, nil, false
	en.waiting, en.unmapped, en.left = nil, nil, [2]int{}
	en.steps, en.stage, en.hooks = nil, 0, nil
	e.bar(en)
	for _, o := range en.objects {
		o.source, o.body, o.problem, o.hook, o.again = nil, nil, nil, nil, false
	}
	e.prune(en)
	e.wakeClaimants()
}

// prune decides on what is owned and not wanted, and starts it; e.mu is held.
func (e *Engine) prune(en *entry) {
	if !en.prepared || en.recalled || en.stage == barred || en.left != [2]int{} || !en.want.Withdrawn && !en.applied() {
		return
	}
	if e.startTraces(en) {
		return // what is found comes back here
	}
	plan := planPrune(e.pruneInput(en))
	e.touch(en)
	e.keep(en, &plan)
	for _, v := range plan.Release {
		e.drop(en, v.ID)
	}
	for _, v := range plan.Delete {
		o := en.objects[v.ID]
		o.remove = true
		o.succeed()
	}
	en.heldWhy, en.held = plan.Why, plan.Held
	if !samePruning(en.pruning, plan.Progress) || len(plan.Release) > 0 {
		en.pruning = plan.Progress
		e.unsaved[en.want.Key] = true
		e.wakeSave()
	}
	e.startRemovals(en)
	if en.want.Withdrawn && len(en.objects) == 0 {
		en.gone = true
	}
	if len(plan.Release) > 0 {
		e.wakeClaimants()
	}
}

// startRemovals deletes what lives in namespaces and by definitions before
// these themselves.
func (e *Engine) startRemovals(en *entry) {
	for phase := 1; phase >= 0; phase-- {
		left := false
		for id, o := range en.objects {
			if !o.remove || id.phase() != phase {
				continue
			}
			left = true
			if !o.deleting && !o.busy {
				e.queue.Add(task{object: id}, ordinary)
			}
		}
		if left {
			return
		}
	}
}

func (e *Engine) pruneInput(en *entry) pruneInput {
	in := pruneInput{
		Entry: en.want, Wanted: map[ID]bool{}, Claimed: map[ID]bool{}, Kept: map[ID]bool{},
		Forbidden: e.member.limits.Deletions, Progress: en.pruning,
	}
	for id, o := range en.objects {
		if o.wanted() {
			in.Wanted[id] = true
		}
		if o.rec.stays(en.want.Withdrawn) {
			in.Kept[id] = true
		}
		if !o.remove { // approved deletions are counted and under way
			v := victim{ID: id}
			if o.rec != nil {
				v.UID = o.rec.UID
			}
			in.Owned = append(in.Owned, v)
		}
	}
	for _, other := range e.entries {
		if other == en || other.want.Withdrawn {
			continue
		}
		for id := range other.waiting {
			in.Claimed[id] = true
		}
	}
	return in
}

func samePruning(a, b pruning) bool {
	if a.Sync != b.Sync || a.Deleted != b.Deleted || a.Digest != b.Digest || a.Allowed != b.Allowed || len(a.Held) != len(b.Held) {
		return false
	}
	for i := range a.Held {
		if a.Held[i] != b.Held[i] {
			return false
		}
	}
	return true
}
