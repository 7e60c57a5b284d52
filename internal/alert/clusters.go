package alert

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/certificates"
)

const (
	// agentSkew is the number of minor versions between agent and hub that somebody
	// should know of: one before the last that is supported.
	agentSkew = 2
	// kubernetesSkew is what kubelets may lag behind (kubernetes.io, version skew
	// policy), and clusters of one fleet should not do worse.
	kubernetesSkew = 3
)

func (e *evaluation) clusters(s State) {
	there := map[string]int{}
	for i := range s.Applications {
		for _, c := range s.Applications[i].Status.Clusters {
			there[c]++
		}
	}
	newest := newestKubernetes(s.Clusters)
	for i := range s.Clusters {
		c := &s.Clusters[i]
		e.link(c, there[c.Name])
		e.agent(c, s.Version)
		if f := c.Status.Facts; f != nil && behind(f.KubernetesVersion, newest) > kubernetesSkew {
			e.cluster(KubernetesVersionSkew, c, time.Time{}, "atoll get clusters",
				fmt.Sprintf("it runs Kubernetes %s, and the newest of the fleet is %s", f.KubernetesVersion, newest))
		}
	}
}

// cluster fires a rule about one.
func (e *evaluation) cluster(rule string, c *v1alpha1.Cluster, since time.Time, do, summary string) {
	labels := map[string]string{LabelCluster: c.Name}
	if c.Spec.Owner != "" {
		labels[LabelOwner] = c.Spec.Owner
	}
	e.fire(rule, Alert{Labels: labels, Named: []string{c.Name}, Summary: "cluster " + c.Name + ": " + summary, Do: do, Since: since})
}

// link is how a cluster stands to the hub. Who was never let in cannot be lost.
func (e *evaluation) link(c *v1alpha1.Cluster, applications int) {
	since := func(t *metav1.Time) time.Time {
		if t == nil {
			return c.CreationTimestamp.Time
		}
		return t.Time
	}
	conn := c.Status.Connection
	describe := "atoll describe cluster " + c.Name
	switch {
	case c.Status.Identity == nil:
		e.cluster(ClusterNeverJoined, c, c.CreationTimestamp.Time, "atoll join "+c.Name+" --owner "+c.Spec.Owner, "it is registered, and no agent has ever connected")
	case !c.Spec.Accepted:
		e.cluster(ClusterNotAccepted, c, turned(c.Status.Conditions, v1alpha1.ConditionJoined, c.CreationTimestamp.Time), "atoll accept "+c.Name, "an agent has enrolled and waits to be accepted")
	case !c.Confirmed():
		e.cluster(ClusterUnconfirmed, c, turned(c.Status.Conditions, v1alpha1.ConditionReady, c.CreationTimestamp.Time), "atoll accept "+c.Name, "its enrolment is from before this hub was restored or rebuilt, and nobody has confirmed it")
	case conn.State == v1alpha1.Disconnected:
		e.cluster(ClusterDisconnected, c, since(conn.Since), describe,
			fmt.Sprintf("the agent is not connected; it keeps enforcing what it last received, and gets no change of the %d applications placed there", applications))
		e.cluster(AgentStale, c, since(conn.Since), "atoll remove "+c.Name, "its agent has been away for a month, and its enrolment still counts; end it if nobody expects the cluster back")
	case conn.State == v1alpha1.Stale:
		e.cluster(ClusterStale, c, since(conn.Since), describe, "the link is open, and heartbeats are late")
	case conn.State != v1alpha1.Connected:
		e.cluster(ClusterNeverJoined, c, c.CreationTimestamp.Time, describe, "it is accepted, and no agent has connected yet")
	case applications == 0:
		// Since when, nobody wrote down: at least a new cluster is given time.
		e.cluster(ClusterUnused, c, c.CreationTimestamp.Time, describe, "no application is placed on it")
	}
}

// turned is since when a condition is as it is.
func turned(all []metav1.Condition, kind string, otherwise time.Time) time.Time {
	if c := meta.FindStatusCondition(all, kind); c != nil {
		return c.LastTransitionTime.Time
	}
	return otherwise
}

// agent is what is wrong with the agent of a cluster that may be served.
func (e *evaluation) agent(c *v1alpha1.Cluster, hub string) {
	facts := c.Status.Facts
	if facts == nil || facts.Agent == nil || !c.Confirmed() {
		return
	}
	if far := apartBy(facts.Agent.Version, hub); far >= agentSkew {
		e.cluster(AgentVersionSkew, c, time.Time{}, "atoll upgrade agents --plan", fmt.Sprintf("its agent is %s and the hub %s", facts.Agent.Version, hub))
	}
	up, wish := facts.Agent.Upgrade, c.Spec.Agent
	if up == nil || wish == nil || up.Image != wish.Image || up.Attempt != wish.Attempt {
		return // it is of a wish that nobody has any more
	}
	if up.State == v1alpha1.UpgradeRolledBack || up.State == v1alpha1.UpgradeRefused {
		e.cluster(AgentUpgradeFailed, c, time.Time{}, "atoll describe cluster "+c.Name, fmt.Sprintf("the upgrade of its agent to %s: %s: %s", up.Image, up.State, up.Message))
	}
}

func (e *evaluation) certificates(all []certificates.Certificate) {
	for _, c := range all {
		if !c.Overdue(e.now) {
			continue
		}
		ends := c.Expires.UTC().Format(time.RFC3339)
		if c.Problem != "" {
			e.fire(HubCertificateExpiring, Alert{
				Labels: map[string]string{LabelCertificate: c.Use}, Named: []string{c.Use}, Do: "atoll certificates",
				Summary: fmt.Sprintf("nobody knows when the certificate of the %s ends: %s", c.Use, c.Problem),
			})
			continue
		}
		if c.Cluster == "" {
			e.fire(HubCertificateExpiring, Alert{
				Labels: map[string]string{LabelCertificate: c.Use}, Named: []string{c.Name}, Since: c.Late, Do: "atoll certificates",
				Summary: fmt.Sprintf("the certificate of the %s (%s) ends at %s; who renews it: %s", c.Use, c.Name, ends, c.Renewal),
			})
			continue
		}
		labels := map[string]string{LabelCluster: c.Cluster}
		if c.Owner != "" {
			labels[LabelOwner] = c.Owner
		}
		e.fire(AgentCertificateLate, Alert{
			Labels: labels, Named: []string{c.Cluster}, Since: c.Late, Do: "atoll describe cluster " + c.Cluster,
			Summary: fmt.Sprintf("cluster %s: the certificate of its agent ends at %s, and should have been renewed", c.Cluster, ends),
		})
	}
}

// newestKubernetes is the latest version that clusters run, "" without any. Among
// three or more, what one alone says to run does not count: it would make all
// others old.
func newestKubernetes(clusters []v1alpha1.Cluster) string {
	var all []*version.Version
	for i := range clusters {
		if f := clusters[i].Status.Facts; f != nil {
			if v, err := version.ParseGeneric(f.KubernetesVersion); err == nil {
				all = append(all, v)
			}
		}
	}
	slices.SortFunc(all, func(a, b *version.Version) int {
		switch {
		case a.LessThan(b):
			return 1
		case b.LessThan(a):
			return -1
		}
		return 0
	})
	switch len(all) {
	case 0:
		return ""
	case 1, 2:
		return all[0].String()
	}
	return all[1].String()
}

// behind is by how many minor versions one is older than other; 0 for what is no
// version, or of another major one.
func behind(one, other string) int {
	a, err := version.ParseGeneric(one)
	if err != nil {
		return 0
	}
	b, err := version.ParseGeneric(other)
	if err != nil || a.Major() != b.Major() {
		return 0
	}
	return int(b.Minor()) - int(a.Minor())
}

// apartBy is the same in either direction.
func apartBy(one, other string) int {
	n := behind(one, other)
	return max(n, -n)
}
