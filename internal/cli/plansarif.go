package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/plan"
	"atoll.dev/atoll/internal/version"
)

// The types below are as much of SARIF 2.1.0 (OASIS) as findings of a plan and of policies need.
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool    sarifTool     `json:"tool"`
	Results []sarifResult `json:"results"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID               string           `json:"id"`
	ShortDescription sarifText        `json:"shortDescription"`
	Properties       *sarifProperties `json:"properties,omitempty"`
}

type sarifProperties struct {
	Tags []string `json:"tags"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID       string             `json:"ruleId"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Justification string `json:"justification"`
}

type sarifLocation struct {
	Physical *sarifPhysical `json:"physicalLocation,omitempty"`
	Logical  []sarifLogical `json:"logicalLocations"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   sarifRegion   `json:"region"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifLogical struct {
	Name string `json:"fullyQualifiedName"`
	Kind string `json:"kind"`
}

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// sarifRules are the findings that a plan may have, with their levels.
var sarifRules = []struct{ id, level, text string }{
	{"deletion", "warning", "Objects would be deleted"},
	{"cluster-left", "warning", "Clusters would be left"},
	{"leaving-held", "warning", "Clusters would wait for a person before they are left"},
	{"refused", "error", "The project may not deliver it, or it cannot be delivered"},
	{"api-missing", "error", "A cluster does not serve the kind"},
	{"api-deprecated", "warning", "The kind is deprecated on a cluster"},
	{"policy-denied", "error", "A policy of a cluster would refuse an object"},
	{"policy-broken", "warning", "An object breaks a policy of a cluster, which lets it through"},
	{"live-conflict", "error", "An object is there already, and others keep it"},
	{"live-adoption", "warning", "An object is there already, and would be taken over"},
	{"live-missing", "warning", "An object that would change is not there"},
	{"live-drift", "warning", "An object is not as it is asked for now"},
	{"unknown", "note", "A part of the plan is not known"},
}

// sarif gathers findings; file is where they are pinned to, or "".
type sarif struct {
	file    string
	results []sarifResult
}

func writeSARIF(w io.Writer, answer *fleet.PlanAnswer, file string) error {
	s := sarif{file: file, results: []sarifResult{}}
	for i := range answer.Plans {
		s.plan(&answer.Plans[i])
	}
	for _, u := range answer.Unknown {
		s.find("unknown", "fleet", "%s", u.Message)
	}
	driver := sarifDriver{Name: "atoll plan", Version: version.Version}
	for _, r := range sarifRules {
		driver.Rules = append(driver.Rules, sarifRule{ID: r.id, ShortDescription: sarifText{r.text}})
	}
	return encode(w, "json", sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{{Tool: sarifTool{driver}, Results: s.results}}})
}

func (s *sarif) plan(p *plan.Plan) {
	app := p.Project + "/" + p.Application
	for _, c := range p.Classes {
		on := list(c.Clusters, 8)
		held := ""
		if c.Held != "" {
			held = fmt.Sprintf("; %d would be held: %s", c.HeldCount, c.Held)
		}
		told := 0
		for _, o := range c.Objects {
			if o.Action == plan.Delete {
				told++
				s.find("deletion", app+"/"+o.Ref.String(), "%s would be deleted on %s%s", o.Ref, on, held)
			}
		}
		if more := c.Deleted - told; more > 0 {
			s.find("deletion", app, "%s more would be deleted on %s%s", count(more, "object"), on, held)
		}
		if c.Effect == plan.EffectOrphan || c.Effect == plan.EffectDelete {
			s.find("cluster-left", app, "%s would be left", on)
		}
	}
	if p.Held != nil {
		s.find("leaving-held", app, "%s", p.Held.Message)
	}
	for _, r := range p.Refusals {
		at := app
		if r.Object != nil {
			at += "/" + r.Object.String()
		}
		s.find("refused", at, "%s: %s%s", r.Reason, r.Message, keptOn(r.Clusters))
	}
	for _, a := range p.APIs {
		rule := map[plan.Level]string{plan.Missing: "api-missing", plan.Deprecated: "api-deprecated"}[a.Level]
		s.find(rule, app, "%s %s (%s) on %s: %s", a.Version, a.Kind, list(refNames(a.Objects), 3), list(a.Clusters, 8), a.Message)
	}
	for _, v := range p.Policies {
		rule := "policy-broken"
		if v.Effect == "Deny" {
			rule = "policy-denied"
		}
		s.find(rule, app+"/"+v.Ref.String(), "policy %s on %s: %s: %s", v.Policy, list(v.Clusters, 8), v.Ref, v.Message)
	}
	for _, f := range p.Live {
		s.find(liveRules[f.Kind], app+"/"+f.Ref.String(), "%s on %s%s", f.Ref, list(f.Clusters, 8), foundWords(f))
	}
	for _, u := range p.Unknown {
		s.find("unknown", app, "%s: %s", fallback(list(u.Clusters, 8), "all clusters"), u.Message)
	}
}

// liveRules are the rules of what --live finds.
var liveRules = map[plan.FindingKind]string{
	plan.FoundConflict: "live-conflict", plan.FoundOwned: "live-conflict", plan.FoundAdoption: "live-adoption",
	plan.FoundMissing: "live-missing", plan.FoundDrift: "live-drift",
}

func foundWords(f plan.Finding) string {
	words := ""
	if f.Message != "" {
		words = ": " + f.Message
	}
	for _, ch := range f.Changes {
		words += fmt.Sprintf("; %s is %s and asked for as %s", ch.Path, value(ch.Old), value(ch.New))
	}
	return words
}

func (s *sarif) find(rule, at, format string, args ...any) {
	level := "none"
	for _, r := range sarifRules {
		if r.id == rule {
			level = r.level
		}
	}
	location := sarifLocation{Logical: []sarifLogical{{Name: at, Kind: "resource"}}}
	if s.file != "" {
		location.Physical = &sarifPhysical{Artifact: sarifArtifact{URI: filepath.ToSlash(s.file)}, Region: sarifRegion{StartLine: 1}}
	}
	s.results = append(s.results, sarifResult{RuleID: rule, Level: level, Message: sarifText{fmt.Sprintf(format, args...)}, Locations: []sarifLocation{location}})
}
