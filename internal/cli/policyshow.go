package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/compliance"
	"atoll.dev/atoll/internal/compliance/starter"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/version"
)

func (c *console) tellPolicies(r compliance.Report, places compliance.Places, o policyCheck) error {
	switch o.output {
	case "sarif":
		return encode(c.raw.Out, "json", policySARIF(r, places))
	case "json", "yaml":
		return encode(c.raw.Out, o.output, r)
	}
	if len(r.Violations) > 0 {
		if err := violationGrid(r, places, o.framework).write(c.Out, c.ink); err != nil {
			return err
		}
	}
	exempt := len(r.Violations) - r.Counting()
	c.say("%s judged by %s: %s, %d exempt", count(r.Objects, "object"), count(r.Policies, "policy"), count(r.Counting(), "violation"), exempt)
	for _, u := range r.Undecided {
		about := u.Policy
		if u.Object != nil {
			about += ", " + u.Object.String()
		}
		c.say("not judged: %s: %s", about, u.Why)
	}
	return nil
}

func violationGrid(r compliance.Report, places compliance.Places, framework string) *grid {
	g := &grid{head: []string{"SEVERITY", "POLICY", "EFFECT", "OBJECT", "AT", "WHAT"}}
	if framework != "" {
		g.head[2] = "CONTROLS"
	}
	for _, v := range r.Violations {
		third := string(v.Effect)
		switch {
		case framework != "":
			third = controlsOf(v.Controls, framework)
		case !v.Counts():
			third = "Exempt"
		}
		at := ""
		if file, line := places.Object(v.Object); file != "" {
			at = fmt.Sprintf("%s:%d", file, line)
		}
		g.add(cell{text: string(v.Severity), paint: violationPaint(v)}, text(v.Policy), text(third), text(v.Object.String()), text(at), text(v.Message+exemptWords(v.Exemption)))
	}
	return g
}

func violationPaint(v compliance.Violation) paint {
	switch {
	case !v.Counts():
		return dim
	case v.Severity == compliance.Critical || v.Severity == compliance.High:
		return red
	case v.Severity == compliance.Medium:
		return yellow
	}
	return plain
}

func exemptWords(e *compliance.Exemption) string {
	switch {
	case e == nil:
		return ""
	case e.Fault != "":
		return "; " + e.Fault
	case e.Reason != "":
		return fmt.Sprintf("; exempt until %s by %s: %s", e.Until, e.Owner, e.Reason)
	}
	return fmt.Sprintf("; exempt until %s by %s", e.Until, e.Owner)
}

// controlsOf are those of one framework, without its name.
func controlsOf(controls []string, framework string) string {
	var own []string
	for _, c := range controls {
		if id, ok := strings.CutPrefix(c, framework+"/"); ok {
			own = append(own, id)
		}
	}
	return strings.Join(own, ", ")
}

// starterRule is a policy of the starter set, or a fact beside it.
type starterRule struct {
	name, title, severity string
	controls              []string
}

func starterRules() []starterRule {
	var all []starterRule
	for _, p := range starter.Policies() {
		a := p.GetAnnotations()
		all = append(all, starterRule{p.GetName(), a[starter.TitleKey], a[compliance.SeverityKey], strings.Fields(a[compliance.ControlsKey])})
	}
	for _, f := range compliance.Facts {
		all = append(all, starterRule{f.Name, f.Title, string(f.Severity), f.Controls})
	}
	return all
}

func (c *console) starterTable() error {
	g := grid{head: []string{"POLICY", "SEVERITY", "WHAT", "SUPPORTS"}, width: c.width}
	for _, r := range starterRules() {
		g.add(text(r.name), text(r.severity), text(r.title), text(strings.Join(r.controls, " ")))
	}
	return g.write(c.Out, c.ink)
}

func newPolicyFrameworks(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "frameworks [FRAMEWORK]",
		Short: "Which controls of frameworks the starter set supports, and by which policies",
		Long: `Show the mapping of policies to controls of SOC 2, ISO/IEC 27001, HIPAA, GDPR and
DORA, with the text that each control is of. A policy is evidence for a part of a
control, and never all that an auditor asks for.`,
		Example: `  atoll policy frameworks
  atoll policy frameworks dora`,
		Args:      atMostOne("framework"),
		ValidArgs: compliance.FrameworkIDs(),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				if err := oneOf("framework", args[0], compliance.FrameworkIDs()...); err != nil {
					return err
				}
			}
			return c.frameworks(args)
		},
	}
}

func (c *console) frameworks(only []string) error {
	rules := starterRules()
	g := grid{head: []string{"CONTROL", "ABOUT", "POLICIES"}}
	for _, f := range compliance.Frameworks {
		if len(only) > 0 && only[0] != f.ID {
			continue
		}
		c.say("%s: %s", f.ID, f.Source)
		for _, control := range f.Controls {
			var by []string
			for _, r := range rules {
				if strings.Contains(" "+strings.Join(r.controls, " ")+" ", " "+f.ID+"/"+control.ID+" ") {
					by = append(by, r.name)
				}
			}
			g.add(text(f.ID+"/"+control.ID), text(control.About), text(fallback(strings.Join(by, ", "), "none of the starter set")))
		}
	}
	return g.write(c.Out, c.ink)
}

// policySARIF has a rule for each policy that is broken. What is exempt is there as
// suppressed, as SARIF says it.
func policySARIF(r compliance.Report, places compliance.Places) sarifLog {
	driver := sarifDriver{Name: "atoll policy check", Version: version.Version, Rules: []sarifRule{}}
	titles := map[string]string{}
	for _, rule := range starterRules() {
		titles[rule.name] = rule.title
	}
	known, results := map[string]bool{}, []sarifResult{}
	rule := func(id, text string, controls []string) {
		if known[id] {
			return
		}
		known[id] = true
		one := sarifRule{ID: id, ShortDescription: sarifText{text}}
		if len(controls) > 0 {
			one.Properties = &sarifProperties{Tags: controls}
		}
		driver.Rules = append(driver.Rules, one)
	}
	for _, v := range r.Violations {
		rule(v.Policy, fallback(titles[v.Policy], v.Policy), v.Controls)
		result := sarifResult{RuleID: v.Policy, Level: sarifLevel(v.Severity), Message: sarifText{v.Object.String() + ": " + v.Message + exemptWords(v.Exemption)}, Locations: []sarifLocation{locationOf(v.Object, places)}}
		if !v.Counts() {
			result.Suppressions = []sarifSuppression{{Kind: "external", Justification: strings.TrimPrefix(exemptWords(v.Exemption), "; ")}}
		}
		results = append(results, result)
	}
	for _, u := range r.Undecided {
		rule("not-judged", "Only a cluster can judge it", nil)
		at := report.ObjectRef{Kind: compliance.PolicyKind, Group: "admissionregistration.k8s.io", Name: u.Policy}
		if u.Object != nil {
			at = *u.Object
		}
		results = append(results, sarifResult{RuleID: "not-judged", Level: "note", Message: sarifText{u.Policy + ": " + u.Why}, Locations: []sarifLocation{locationOf(at, places)}})
	}
	return sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{{Tool: sarifTool{driver}, Results: results}}}
}

func sarifLevel(s compliance.Severity) string {
	switch s {
	case compliance.Critical, compliance.High:
		return "error"
	case compliance.Medium:
		return "warning"
	}
	return "note"
}

func locationOf(ref report.ObjectRef, places compliance.Places) sarifLocation {
	l := sarifLocation{Logical: []sarifLogical{{Name: ref.String(), Kind: "resource"}}}
	if file, line := places.Object(ref); file != "" {
		l.Physical = &sarifPhysical{Artifact: sarifArtifact{URI: filepath.ToSlash(file)}, Region: sarifRegion{StartLine: line}}
	}
	return l
}
