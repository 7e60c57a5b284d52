package apply

import (
	"fmt"
	"slices"

	"atoll.dev/atoll/internal/syncoption"
)

// An object whose annotations keep it is not deleted when it is no longer asked
// for. While its application goes on here, it stays in the inventory, so that it is
// told of and taken up again when it comes back; with its application it is let go
// like an orphan.

// keepAsAsked records what the manifest says of an object that was applied just so
// before that was recorded; e.mu is held.
func (e *Engine) keepAsAsked(o *object) {
	if o.rec == nil || o.rec.Accepted != o.want || o.rec.Keep == o.options.Keep {
		return
	}
	rec := *o.rec
	rec.Keep = o.options.Keep
	o.rec = &rec
	e.unsaved[o.entry.want.Key] = true
	e.wakeSave()
}

// keptLive is the record of an object that says of itself that it stays.
func (j job) keptLive(live map[string]any) (*record, bool) {
	rec := *j.object.rec
	rec.Keep = syncoption.KeptLive(live)
	return &rec, rec.stays(j.want.Withdrawn)
}

// spare takes back the deletion of an object that stays, and of what would take it
// along; e.mu is held.
func (e *Engine) spare(o *object, rec *record) {
	en := o.entry
	o.succeed()
	o.rec = rec
	for id, other := range en.objects {
		if id == o.id || id.bears(o.id) && !other.deleting {
			other.remove = false
		}
	}
	e.unsaved[en.want.Key] = true
	e.wakeSave()
	e.prune(en)
}

// keep takes over what stays of a plan; e.mu is held.
func (e *Engine) keep(en *entry, plan *prunePlan) {
	for _, o := range en.objects {
		o.stays = false
	}
	for _, v := range plan.Kept {
		en.objects[v.ID].stays = true
	}
	if en.want.Withdrawn {
		plan.Release = append(plan.Release, plan.Kept...)
		en.leftBehind = append(en.leftBehind, plan.Kept...)
	}
}

// bears tells a namespace or a definition without which the object cannot be.
func (id ID) bears(o ID) bool {
	switch id.GroupKind() {
	case namespaceKind:
		return id.Name == o.Namespace
	case crdKind:
		return o.Group != "" && groupOfDefinition(id.Name) == o.Group
	}
	return false
}

// staying is what is no longer asked for and stays, sorted.
func (en *entry) staying() []victim {
	stays := slices.Clone(en.leftBehind)
	for id, o := range en.objects {
		if o.kept() {
			stays = append(stays, victim{ID: id})
		}
	}
	slices.SortFunc(stays, func(a, b victim) int { return a.ID.Compare(b.ID) })
	return stays
}

// inWords tells people what stays.
func inWords(stays []victim) string {
	if len(stays) == 1 {
		return fmt.Sprintf("%s is no longer asked for and stays, as its annotations say", stays[0].ID)
	}
	return fmt.Sprintf("%d objects are no longer asked for and stay, as their annotations say: %s", len(stays), names(stays))
}
