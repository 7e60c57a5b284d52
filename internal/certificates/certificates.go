// Package certificates decides what is said of the certificates that a fleet
// stands on: which there are of the hub and its agents, which end soon, and which
// should have been renewed by now. Where they lie is its callers' knowledge.
package certificates

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
)

// Certificate is one of the inventory. No key is ever part of it.
type Certificate struct {
	// Use is what it is for, such as "agent" or "agents' root".
	Use string `json:"use"`
	// Name is its subject; of an agent the cluster.
	Name   string `json:"name"`
	Issuer string `json:"issuer,omitempty"`
	// Cluster is where it is used; empty is the hub itself. Owner answers for it.
	Cluster string    `json:"cluster,omitempty"`
	Owner   string    `json:"owner,omitempty"`
	Begins  time.Time `json:"begins,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	// Late is when it should have been renewed at the latest; zero where the end
	// alone tells nothing, as of an agent that is away.
	Late time.Time `json:"late,omitzero"`
	// Renewal says who renews it, or which command.
	Renewal string `json:"renewal,omitempty"`
	// Problem is why nothing else is known of it.
	Problem string `json:"problem,omitempty"`
}

// Overdue tells that nobody renewed it in time, or that nobody can know.
func (c Certificate) Overdue(now time.Time) bool {
	return c.Problem != "" || !c.Late.IsZero() && !now.Before(c.Late)
}

// Unreadable is a certificate of the hub of which only its use is known.
func Unreadable(use string, err error) Certificate {
	return Certificate{Use: use, Problem: err.Error()}
}

// Spare is how much of its life a certificate has left when it is late, and Renewal
// who renews it.
type Spare struct {
	Left    time.Duration
	Renewal string
}

const day = 24 * time.Hour

// The spares of the hub's own certificates. Those that renew themselves do so
// well before: the API's with 30 days left, the gateway's with 56 hours.
var (
	OfAuthority = Spare{180 * day, "people, by new keys and kubeconfigs"}
	OfRoot      = Spare{180 * day, "atoll hub rotate-root"}
	OfServing   = Spare{14 * day, "the hub"}
	OfGateway   = Spare{1 * day, "the hub"}
)

// agentSpare is what an agent that is connected has always more of: it renews with
// 8 of its 24 hours left.
const agentSpare = 4 * time.Hour

// Of describes an X.509 certificate of the hub.
func Of(use string, c *x509.Certificate, spare Spare) Certificate {
	return Certificate{
		Use: use, Name: cmp.Or(c.Subject.CommonName, "(no name)"), Issuer: c.Issuer.CommonName,
		Begins: c.NotBefore.UTC(), Expires: c.NotAfter.UTC(), Late: c.NotAfter.Add(-spare.Left).UTC(), Renewal: spare.Renewal,
	}
}

// Parse reads the first certificate of a PEM text and describes it.
func Parse(use string, text []byte, spare Spare) (Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return Certificate{}, fmt.Errorf("read the certificate of the %s: no PEM certificate in it", use)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Certificate{}, fmt.Errorf("read the certificate of the %s: %w", use, err)
	}
	return Of(use, c, spare), nil
}

// OfAgents are the certificates of enrolled agents, as the hub signed them last.
// One of an agent that is away is late for nobody: it renews it when it comes
// back, however long that is over.
func OfAgents(clusters []v1alpha1.Cluster) []Certificate {
	var all []Certificate
	for i := range clusters {
		c := &clusters[i]
		id := c.Status.Identity
		if id == nil || id.CertificateExpires == nil {
			continue
		}
		one := Certificate{
			Use: "agent", Name: c.Name, Issuer: "agents' root", Cluster: c.Name, Owner: c.Spec.Owner,
			Expires: id.CertificateExpires.UTC(), Renewal: "the agent",
		}
		if c.Status.Connection.State == v1alpha1.Connected {
			one.Late = one.Expires.Add(-agentSpare)
		}
		all = append(all, one)
	}
	return all
}

// Expiring are those that end within a time from now, or have ended; all of them
// with zero.
func Expiring(all []Certificate, within time.Duration, now time.Time) []Certificate {
	out := make([]Certificate, 0, len(all))
	for _, c := range all {
		if within == 0 || !c.Expires.After(now.Add(within)) {
			out = append(out, c)
		}
	}
	return out
}

// Sort orders by the end, first first.
func Sort(all []Certificate) {
	slices.SortStableFunc(all, func(a, b Certificate) int {
		return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.Use, b.Use), cmp.Compare(a.Name, b.Name))
	})
}
