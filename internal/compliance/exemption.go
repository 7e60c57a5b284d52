package compliance

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// ExemptPrefix begins the label and the annotation of a Namespace that exempt what
// is in it from a policy: the label exempt.atoll.dev/POLICY has the last day, as
// 2027-03-31, and the annotation of the same name who answers for it and why, as
// "ana@example.com: until the old build is gone".
//
// A binding honours it in the cluster with a namespaceSelector that wants the label
// not to exist. Whether the day has passed no API server can tell, so it is told
// here: an exemption that is over, or that nobody owns, counts as a violation.
const ExemptPrefix = "exempt.atoll.dev/"

// Exemption is an exception from a policy, with who answers for it and until when.
type Exemption struct {
	Until  string `json:"until"`
	Owner  string `json:"owner,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Fault is why the exemption does not count: it is over, or incomplete.
	Fault string `json:"fault,omitempty"`
}

const day = "2006-01-02"

// exemption is that of a Namespace from a policy, or nil.
func exemption(ns metadata, policy string, now time.Time) *Exemption {
	key := ExemptPrefix + policy
	until, ok := ns.labels[key]
	if !ok {
		return nil
	}
	owner, reason, _ := strings.Cut(ns.annotations[key], ":")
	e := &Exemption{Until: until, Owner: strings.TrimSpace(owner), Reason: strings.TrimSpace(reason)}
	last, err := time.Parse(day, until)
	switch {
	case err != nil:
		e.Fault = fmt.Sprintf("the label %s has no day such as 2027-03-31", key)
	case !now.Before(last.AddDate(0, 0, 1)):
		e.Fault = fmt.Sprintf("the exemption ended with %s: take the label %s off the Namespace, or give it another day", until, key)
	case e.Owner == "":
		e.Fault = fmt.Sprintf("nobody owns the exemption: name who does in the annotation %s", key)
	}
	return e
}

// unexempt are labels without those that exempt.
func unexempt(labels map[string]string) map[string]string {
	out := make(map[string]string, len(labels))
	for k, v := range labels {
		if !strings.HasPrefix(k, ExemptPrefix) {
			out[k] = v
		}
	}
	return out
}

// Exemptible tells whether a Namespace can be exempt from a policy of that name.
func Exemptible(policy string) bool {
	return len(validation.IsQualifiedName(ExemptPrefix+policy)) == 0
}
