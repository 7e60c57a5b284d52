package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/plan"
	"atoll.dev/atoll/internal/report"
)

func writePlans(w io.Writer, answer *fleet.PlanAnswer, v view) error {
	b := &strings.Builder{}
	v.unknown(b, "", answer.Unknown)
	for i := range answer.Plans {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		v.plan(b, &answer.Plans[i])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (v view) plan(b *strings.Builder, p *plan.Plan) {
	fmt.Fprintf(b, "%s   %s\n", v.ink.paint(bold, "app/"+p.Application+" in "+p.Project), planned(p))
	v.wrapped(b, "  ", p.Placement, dim)
	if !p.Empty() && p.Waits != "" {
		v.wrapped(b, "  ", "Waits: "+p.Waits, yellow)
	}
	v.loud(b, p)
	v.trouble(b, p)
	v.broken(b, p.Policies)
	v.found(b, p.Live)
	v.unknown(b, "  ", p.Unknown)
	for i := range p.Classes {
		v.class(b, &p.Classes[i])
	}
	v.waves(b, p.Rollout)
}

// trouble is what would not be delivered, or not work.
func (v view) trouble(b *strings.Builder, p *plan.Plan) {
	for _, r := range p.Refusals {
		about := r.Reason
		if r.Object != nil {
			about += " " + r.Object.String()
		}
		v.wrapped(b, "  ", about+": "+r.Message+keptOn(r.Clusters), red)
	}
	for _, a := range p.APIs {
		paint := yellow
		if a.Level == plan.Missing {
			paint = red
		}
		v.wrapped(b, "  ", fmt.Sprintf("%s %s %s (%s) on %s: %s", a.Level, a.Version, a.Kind, list(refNames(a.Objects), 3), list(a.Clusters, 8), a.Message), paint)
	}
}

// broken is what the clusters' own policies say of its objects.
func (v view) broken(b *strings.Builder, all []plan.Broken) {
	for _, p := range all {
		paint := yellow
		if p.Effect == "Deny" {
			paint = red
		}
		v.wrapped(b, "  ", fmt.Sprintf("Policy %s %s %s on %s: %s", p.Policy, policyWords[p.Effect], label(p.Ref), list(p.Clusters, 8), p.Message), paint)
	}
}

// policyWords are what an API server does with what breaks a policy.
var policyWords = map[string]string{"Deny": "would refuse", "Warn": "would warn of", "Audit": "would record"}

// found is what the members were seen to have.
func (v view) found(b *strings.Builder, all []plan.Finding) {
	for _, f := range all {
		paint := yellow
		if f.Kind == plan.FoundConflict || f.Kind == plan.FoundOwned {
			paint = red
		}
		line := fmt.Sprintf("%s %s on %s", f.Kind, label(f.Ref), list(f.Clusters, 8))
		if f.Message != "" {
			line += ": " + f.Message
		}
		v.wrapped(b, "  ", line, paint)
		for _, ch := range f.Changes {
			v.wrapped(b, "      ", fmt.Sprintf("%s: live %s, asked %s%s", ch.Path, value(ch.Old), value(ch.New), changedBy(v, ch)), plain)
		}
	}
}

// planned is the plan in one line.
func planned(p *plan.Plan) string {
	changing := 0
	for _, c := range p.Classes {
		changing += len(c.Clusters)
	}
	switch {
	case p.Empty() && len(p.Unknown) > 0:
		return "nothing that is known would change"
	case p.Empty():
		return "nothing would change on " + count(p.Unchanged, "cluster")
	case changing == 0:
		return "would not be delivered"
	}
	text := count(changing, "cluster") + " would change"
	switch p.Unchanged {
	case 0:
	case 1:
		text += ", 1 would stay as it is"
	default:
		text += fmt.Sprintf(", %d would stay as they are", p.Unchanged)
	}
	return text
}

// loud is what cannot be taken back: what would be deleted, and clusters left.
func (v view) loud(b *strings.Builder, p *plan.Plan) {
	for _, c := range p.Classes {
		if c.Deleted > 0 {
			v.wrapped(b, "  ", fmt.Sprintf("! deletes %s on %s", count(c.Deleted, "object"), list(c.Clusters, 8)), red)
		}
		if c.Held != "" {
			v.wrapped(b, "    ", fmt.Sprintf("DeletionHeld: %d would wait for a person: %s", c.HeldCount, c.Held), yellow)
		}
		if c.Effect == plan.EffectOrphan {
			v.wrapped(b, "  ", "! leaves "+list(c.Clusters, 8)+": what runs there stays and is kept no longer (onDelete: Orphan)", yellow)
		}
	}
	if p.Held != nil {
		v.wrapped(b, "  ", "Leaving: "+p.Held.Message, yellow)
	}
}

var planMarks = map[plan.Action]struct {
	mark  string
	paint paint
}{
	plan.Create: {"+", green},
	plan.Change: {"~", yellow},
	plan.Delete: {"-", red},
	plan.Keep:   {"=", yellow},
}

func (v view) class(b *strings.Builder, c *plan.Class) {
	if c.Effect == plan.EffectOrphan {
		return // said already
	}
	from := ""
	switch {
	case c.Effect == plan.EffectDelete:
		from = "left, and deleted there"
	case c.From == c.To:
		from = "stays at " + c.To
	case c.From == "":
		from = "new, " + c.To
	default:
		from = c.From + " → " + c.To
	}
	fmt.Fprintf(b, "\n  %s   %s\n", v.ink.paint(bold, list(c.Clusters, 8)), v.ink.paint(dim, from))
	for _, o := range c.Objects {
		m := planMarks[o.Action]
		line := m.mark + " " + label(o.Ref)
		if o.Action == plan.Keep {
			line += " is no longer asked for and stays, as its annotations say"
		}
		fmt.Fprintf(b, "    %s\n", v.ink.paint(m.paint, line))
		v.fields(b, "        ", o.Fields, o.FieldCount)
	}
	if more := c.Deleted + c.Changed + c.Created + c.Kept - len(c.Objects); more > 0 {
		fmt.Fprintf(b, "    and %s more\n", count(more, "object"))
	}
	if len(c.Settings) > 0 {
		fmt.Fprintf(b, "    %s\n", v.ink.paint(yellow, "~ how it is kept"))
		v.fields(b, "        ", c.Settings, len(c.Settings))
	}
}

func (v view) fields(b *strings.Builder, indent string, fields []plan.Field, all int) {
	for _, f := range fields {
		v.wrapped(b, indent, fmt.Sprintf("%s: %s → %s", f.Path, planValue(f.Old), planValue(f.New)), plain)
	}
	if more := all - len(fields); more > 0 {
		fmt.Fprintf(b, "%sand %s more\n", indent, count(more, "field"))
	}
}

func planValue(v any) string {
	if s, ok := v.(string); ok && s != "" {
		return value(s)
	}
	if v == nil {
		return value("")
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return value(string(data))
}

func (v view) waves(b *strings.Builder, r *plan.Rollout) {
	if r == nil {
		return
	}
	title := fmt.Sprintf("Rollout in %s, onFailure: %s", count(len(r.Waves), "wave"), r.OnFailure)
	if r.Phase != "" {
		title += ", now " + string(r.Phase)
	}
	fmt.Fprintf(b, "\n  %s\n", v.ink.paint(bold, title))
	for i, w := range r.Waves {
		line := fmt.Sprintf("%d  %s", i+1, list(w.Clusters, 8))
		if w.Soak.Duration > 0 {
			line += ", soak " + w.Soak.Duration.String()
		}
		for _, g := range w.Gates {
			line += ", gate " + g.Name
		}
		if w.Approval {
			line += ", after approval"
		}
		v.wrapped(b, "    ", line, plain)
	}
	if len(r.Absent) > 0 {
		v.wrapped(b, "    ", "away now, and not waited for: "+list(r.Absent, 8), yellow)
	}
}

func (v view) unknown(b *strings.Builder, indent string, all []plan.Unknown) {
	for _, u := range all {
		where := ""
		if len(u.Clusters) > 0 {
			where = " of " + list(u.Clusters, 8)
		}
		v.wrapped(b, indent, "Not known"+where+": "+u.Message, yellow)
	}
}

// wrapped keeps lines within the page; what follows the first is indented more.
func (v view) wrapped(b *strings.Builder, indent, line string, p paint) {
	if line == "" {
		return
	}
	for i, part := range wrap(line, v.width-len(indent)-2) {
		if i > 0 {
			part = "  " + part
		}
		fmt.Fprintf(b, "%s%s\n", indent, v.ink.paint(p, part))
	}
}

func keptOn(clusters []string) string {
	if len(clusters) == 0 {
		return ""
	}
	return "; " + list(clusters, 8) + " would keep what they have"
}

func refNames(refs []report.ObjectRef) []string {
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = r.Name
	}
	return names
}
