// Package alert decides what of a hub's state somebody should be told of without
// having asked: which rules there are, when each holds, and what it then says. It
// sends nothing (alert/push does), and it remembers nothing: since when something
// holds is read from the objects, so that a hub that starts again says the same.
//
// Alerts are few however large the fleet is. What an application suffers on many
// clusters is one alert that names some of them, and what a rule says of more
// than a number of subjects is one more alert for the rest.
package alert

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Severity says how soon somebody should look.
type Severity string

// The severities, worst first.
const (
	// Critical: something does not work, or is about not to.
	Critical Severity = "critical"
	// Warning: it will not come right by itself.
	Warning Severity = "warning"
	// Info: somebody may have forgotten it.
	Info Severity = "info"
)

// Severities are all of them, worst first.
var Severities = []Severity{Critical, Warning, Info}

// AtLeast tells that s is as bad as other, or worse.
func (s Severity) AtLeast(other Severity) bool {
	return slices.Index(Severities, s) <= slices.Index(Severities, other)
}

// The labels of alerts.
const (
	LabelProject     = "project"
	LabelApplication = "application"
	LabelCluster     = "cluster"
	// LabelOwner is the owner of the cluster.
	LabelOwner       = "owner"
	LabelCertificate = "certificate"
)

// Alert is one thing that somebody should know.
type Alert struct {
	// Name is the rule's.
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Labels name the subject; the alert is the same as long as they and Name are.
	// Without any it speaks of what is beyond the number named apart.
	Labels map[string]string `json:"labels,omitempty"`
	// Count is of how many clusters, or of how many subjects, it speaks; Named are at
	// most MaxNamed of them.
	Count int      `json:"count"`
	Named []string `json:"named,omitempty"`
	// Summary is one sentence, Do the command that helps.
	Summary string `json:"summary"`
	Do      string `json:"do,omitempty"`
	// Since is when the state began; zero when nobody can tell.
	Since time.Time `json:"since,omitzero"`
}

const (
	// MaxNamed is how many clusters one alert names.
	MaxNamed = 10
	// maxText is how long a sentence from elsewhere may be, in bytes.
	maxText = 512
)

// Subject is what the alert is about, for people: "demo/shop", "cluster/eu-1".
func (a Alert) Subject() string {
	l := a.Labels
	switch {
	case l[LabelApplication] != "":
		return l[LabelProject] + "/" + l[LabelApplication]
	case l[LabelCluster] != "":
		return "cluster/" + l[LabelCluster]
	case l[LabelCertificate] != "":
		return l[LabelCertificate]
	}
	return "others"
}

// ID is the same as long as the alert is.
func (a Alert) ID() string {
	var b strings.Builder
	b.WriteString(a.Name)
	for _, key := range slices.Sorted(maps.Keys(a.Labels)) {
		b.WriteString("\x00" + key + "\x00" + a.Labels[key])
	}
	return b.String()
}

// Subjects is of how many subjects it speaks: one, unless it sums up the rest.
func (a Alert) Subjects() int {
	if len(a.Labels) > 0 {
		return 1
	}
	return a.Count
}

// Count counts by severity.
func Count(all []Alert) map[Severity]int {
	n := map[Severity]int{}
	for _, a := range all {
		n[a.Severity]++
	}
	return n
}

// compare puts the worst first, and of one severity the oldest.
func compare(a, b Alert) int {
	return cmp.Or(
		cmp.Compare(slices.Index(Severities, a.Severity), slices.Index(Severities, b.Severity)),
		a.Since.Compare(b.Since), cmp.Compare(a.ID(), b.ID()),
	)
}

// clip keeps what agents and servers say short.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText-len("…")], "") + "…"
}
