package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/report"
)

// page is a description: fields, then titled tables.
type page struct {
	fields grid
	tables []titled
}

type titled struct {
	title string
	grid  grid
}

// field leaves out what is empty.
func (p *page) field(name, value string) {
	if value != "" {
		p.fields.add(text(name), state(value))
	}
}

// table leaves out tables without rows.
func (p *page) table(title string, g grid) {
	if len(g.rows) > 0 {
		g.indent = "  "
		p.tables = append(p.tables, titled{title, g})
	}
}

func (p *page) write(w io.Writer, v view) error {
	p.fields.width = v.width
	if err := p.fields.write(w, v.ink); err != nil {
		return err
	}
	for _, t := range p.tables {
		if _, err := fmt.Fprintf(w, "\n%s\n", v.ink.paint(bold, t.title)); err != nil {
			return err
		}
		if err := t.grid.write(w, v.ink); err != nil {
			return err
		}
	}
	return nil
}

func (p *page) meta(m metav1.ObjectMeta) {
	p.field("Name", m.Name)
	p.field("Project", m.Namespace)
	p.field("Labels", pairs(m.Labels))
}

func pairs(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ", ")
}

func conditions(v view, all []metav1.Condition) grid {
	g := grid{head: []string{"TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"}, width: v.width}
	for _, c := range all {
		g.add(text(c.Type), state(string(c.Status)), text(age(v.now, c.LastTransitionTime.Time)), text(c.Reason), text(c.Message))
	}
	return g
}

func describeCluster(c *v1alpha1.Cluster, v view) *page {
	p := &page{}
	p.meta(c.ObjectMeta)
	p.field("Owner", c.Spec.Owner)
	p.field("Purpose", c.Spec.Purpose)
	p.field("Provider", strings.TrimSuffix(c.Spec.Provider+" "+c.Spec.Account, " "))
	p.field("Region", c.Spec.Region)
	p.field("Jurisdiction", c.Spec.Jurisdiction)
	p.field("Tenant", c.Spec.Tenant)
	p.field("Frameworks", strings.Join(c.Spec.Frameworks, ", "))
	p.field("Access", access(c.Spec))
	p.field("Accepted", fmt.Sprint(c.Spec.Accepted))
	if c.Spec.Unschedulable {
		p.field("Cordoned", "new applications are kept away")
	}
	for _, t := range c.Spec.Taints {
		p.field("Taint", strings.TrimSuffix(t.Key+"="+t.Value, "=")+":"+string(t.Effect))
	}
	p.field("Connection", connection(v, c.Status.Connection))
	if id := c.Status.Identity; id != nil {
		p.field("Cluster UID", id.ClusterUID)
		p.field("Agent", fmt.Sprintf("%s, key %.16s…", fallback(id.AgentVersion, "of unknown version"), id.KeyFingerprint))
	}
	p.table("Conditions", conditions(v, c.Status.Conditions))
	if f := c.Status.Facts; f != nil {
		p.table("Facts, observed "+ago(v.now, f.ObservedAt.Time), facts(f, v))
	}
	return p
}

func access(s v1alpha1.ClusterSpec) string {
	if s.Direct != nil {
		return "direct, by Secret " + s.Direct.SecretName
	}
	return "agent with profile " + fallback(string(s.Profile), string(v1alpha1.ProfileFull))
}

func facts(f *v1alpha1.Facts, v view) grid {
	g := grid{width: v.width}
	row := func(name, value string) {
		if value != "" {
			g.add(text(name), text(value))
		}
	}
	row("Kubernetes", strings.TrimSpace(f.KubernetesVersion+" "+f.Platform))
	row("Nodes", fmt.Sprintf("%d, %d ready", f.Nodes, f.NodesReady))
	row("Provider", f.Provider)
	row("Regions", strings.Join(f.Regions, ", "))
	row("Zones", strings.Join(f.Zones, ", "))
	row("Instance types", strings.Join(f.InstanceTypes, ", "))
	row("Pods", fmt.Sprint(f.Pods))
	for _, resource := range slices.Sorted(maps.Keys(f.Allocatable)) {
		allocatable, requested := f.Allocatable[resource], f.Requested[resource]
		row(resource, fmt.Sprintf("%s requested of %s", requested.String(), allocatable.String()))
	}
	row("Storage classes", strings.Join(f.StorageClasses, ", "))
	row("Ingress classes", strings.Join(f.IngressClasses, ", "))
	row("API groups", strings.Join(f.APIGroups, ", "))
	for _, limit := range f.Limits {
		row("Limit", limit)
	}
	return g
}

func describeApplication(a *v1alpha1.Application, v view) *page {
	p := &page{}
	p.meta(a.ObjectMeta)
	p.field("Source", source(a.Spec.Source))
	if a.Spec.Placement == nil {
		p.field("Placement", "<none>")
	} else if a.Spec.Placement.Ref != "" {
		p.field("Placement", "placement/"+a.Spec.Placement.Ref)
	} else {
		p.field("Placement", rule(a.Spec.Placement.PlacementRule))
	}
	p.field("Member namespace", a.Spec.Namespace)
	p.field("Drift", fallback(string(a.Spec.Drift.Mode), string(v1alpha1.DriftCorrect)))
	p.field("On delete", fallback(string(a.Spec.OnDelete), string(v1alpha1.Orphan)))
	p.field("Tried again", desired.RetryOf(a.Spec.Sync).String())
	if a.Spec.Adopt {
		p.field("Adopt", "takes over objects that exist already")
	}
	if a.Spec.LateBinding {
		p.field("Late binding", "on")
	}
	p.field("Variables", pairs(a.Spec.Variables))
	p.field("Revision", a.Status.Revision)
	p.field("Contents", contents(a.Status.Variants))
	if f := a.Status.Source; f != nil {
		p.field("Commit", commit(f.Commit, v))
		p.field("Chart", chart(f))
		p.field("Made of", madeOf(f.Commit))
		p.field("Signature", signature(f.Commit))
	}
	p.field("State", deliveryDetail(a.Status))
	if a.Status.AsOf != nil {
		p.field("As of", ago(v.now, a.Status.AsOf.Time))
	}
	p.table("Conditions", conditions(v, a.Status.Conditions))
	return p
}

func source(s v1alpha1.Source) string {
	switch {
	case s.Git != nil:
		return repository(s.Git) + rendering(s)
	case s.Chart != nil:
		return helmChart(s.Chart) + rendering(s)
	case s.OCI != nil:
		return artifact(s.OCI) + rendering(s)
	}
	if s.Content != nil {
		return short(s.Content.Digest) + " from " + orNone(s.Content.Origin)
	}
	return "inline, " + size(int64(len(s.Inline)))
}

// repository is "https://h/p, folder deploy, branch main".
func repository(g *v1alpha1.GitSource) string {
	words := []string{g.URL}
	if g.Path != "" {
		words = append(words, "folder "+g.Path)
	}
	switch r := g.Ref; {
	case r.Branch != "":
		words = append(words, "branch "+r.Branch)
	case r.Tag != "":
		words = append(words, "tag "+r.Tag)
	case r.Semver != "":
		words = append(words, "versions "+r.Semver)
	case r.Commit != "":
		words = append(words, "commit "+r.Commit[:12])
	}
	return strings.Join(words, ", ")
}

// helmChart is "chart shop of https://h/p, versions 1.x".
func helmChart(c *v1alpha1.ChartSource) string {
	words := "chart " + c.Name + " of " + c.Repository
	if c.Version != "" {
		words += ", versions " + c.Version
	}
	return words + signedWith(c.Verify)
}

// artifact is "oci://h/p, folder deploy, tag v1".
func artifact(o *v1alpha1.OCISource) string {
	words := []string{o.URL}
	if o.Path != "" {
		words = append(words, "folder "+o.Path)
	}
	switch r := o.Ref; {
	case r.Tag != "":
		words = append(words, "tag "+r.Tag)
	case r.Semver != "":
		words = append(words, "versions "+r.Semver)
	case r.Digest != "":
		words = append(words, short(r.Digest))
	}
	return strings.Join(words, ", ") + signedWith(o.Verify)
}

func signedWith(v *v1alpha1.Verification) string {
	if v == nil {
		return ""
	}
	return ", signed with a key in Secret " + v.SecretRef.Name
}

// rendering is ", Helm, values of prod.yaml", or "" for what the folder tells.
func rendering(s v1alpha1.Source) string {
	words := ""
	if h := s.Helm; h != nil {
		words = ", Helm"
		if len(h.ValuesFiles) > 0 {
			words += ", values of " + strings.Join(h.ValuesFiles, ", ")
		}
		if h.Values != nil {
			words += ", values of its own"
		}
	}
	if k := s.Kustomize; k != nil {
		words = ", Kustomize"
		for _, i := range k.Images {
			words += ", image " + i.Name
		}
	}
	return words
}

// chart is "shop 1.2.3 (7), 1 render for all clusters".
func chart(f *v1alpha1.FetchedSource) string {
	if f.Commit == nil || f.Commit.Chart == "" {
		return ""
	}
	if f.Renders == 1 {
		return f.Commit.Chart + ", 1 render for all clusters"
	}
	if n := different(f.Variants); n > 1 {
		return fmt.Sprintf("%s, %d renders, of which %d differ", f.Commit.Chart, f.Renders, n)
	}
	return fmt.Sprintf("%s, %d renders that came out alike", f.Commit.Chart, f.Renders)
}

// commit is "1a2b3c4d5e6f mend the door, by Ada <ada@example.com>, 3h ago", and
// of a chart or artifact "1a2b3c4d5e6f 1.2.3, 3h ago".
func commit(c *v1alpha1.Commit, v view) string {
	if c == nil {
		return ""
	}
	words := revisionWords(c)
	if c.Author != "" {
		words += ", by " + c.Author
	}
	if c.Time != nil {
		words += ", " + ago(v.now, c.Time.Time)
	}
	return words
}

// revisionWords are a commit's ID and message, or the digest and the version or
// tag of what has no message.
func revisionWords(c *v1alpha1.Commit) string {
	scheme, id, _ := strings.Cut(c.ID, ":")
	words := c.Message
	if scheme != "sha1" {
		words = c.Ref
	}
	return strings.TrimSpace(id[:min(len(id), 12)] + " " + words)
}

// madeOf is what an artifact claims, "https://h/p at main@sha1:1a2b".
func madeOf(c *v1alpha1.Commit) string {
	if c == nil {
		return ""
	}
	if c.SourceRevision == "" {
		return c.Source
	}
	return strings.TrimSpace(c.Source + " at " + c.SourceRevision)
}

// signature is "cosign.pub of Secret keys (sha256:1a2b)".
func signature(c *v1alpha1.Commit) string {
	if c == nil || c.Verified == nil {
		return ""
	}
	return fmt.Sprintf("good, by %s of Secret %s (%s)", c.Verified.Key, c.Verified.Secret, short(c.Verified.Fingerprint))
}

func clusterStates(states []fleet.ClusterState, v view) grid {
	g := grid{head: []string{"CLUSTER", "CONNECTION", "SYNC", "HEALTH", "OBJECTS", "AS OF", "MESSAGE"}, width: v.width}
	for _, s := range states {
		sync, health := s.State.Sync, s.State.Health
		if !s.Current {
			sync, health = report.Progressing, report.HealthUnknown
		}
		message := s.State.Message
		if s.Withdrawing {
			message = strings.TrimSuffix("leaving; "+message, "; ")
		}
		g.add(text(s.Cluster), state(string(s.Connection)), state(string(sync)), state(string(health)),
			text(fmt.Sprintf("%d/%d", s.State.Ready, s.State.Objects)), text(ago(v.now, s.AsOf)), text(message))
	}
	return g
}

func projectPage(pr *v1alpha1.Project, now time.Time, width int) *page {
	p := &page{}
	p.meta(pr.ObjectMeta)
	p.field("Clusters", fallback(pr.Spec.Clusters, "all"))
	p.field("Namespaces", fallback(strings.Join(pr.Spec.Namespaces, ", "), pr.Name+", "+pr.Name+"-*"))
	var extra []string
	for _, k := range pr.Spec.Kinds {
		extra = append(extra, strings.TrimSuffix(k.Kind+"."+k.Group, "."))
	}
	p.field("Extra kinds", strings.Join(extra, ", "))
	if pr.Spec.Privileged {
		p.field("Privileged", "applies with the agent's own account")
	}
	p.field("Tenant", pr.Spec.Tenant)
	p.field("Residency", residency(pr.Spec.Residency))
	if pr.Spec.DeletionBudget != nil {
		p.field("Deletion budget", count(*pr.Spec.DeletionBudget, "object"))
	}
	p.table("Told outside", notifications(pr, now, width))
	return p
}

func placementPage(pl *v1alpha1.Placement) *page {
	p := &page{}
	p.meta(pl.ObjectMeta)
	p.field("Rule", rule(pl.Spec))
	return p
}

func revisionPage(r *v1alpha1.Revision, v view) *page {
	p := &page{}
	p.meta(r.ObjectMeta)
	p.field("Application", r.Spec.Application)
	p.field("Digest", r.Spec.Digest)
	p.field("Content", count(r.Spec.Objects, "object")+", "+size(r.Spec.Bytes))
	if r.Spec.Secrets > 0 {
		p.field("Secrets", count(r.Spec.Secrets, "Secret")+", values kept apart and sealed")
	}
	if n := len(r.Spec.Overrides); n > 0 {
		p.field("Overrides", count(int32(n), "override")+", over content "+short(r.Spec.Content))
	}
	p.field("Origin", r.Spec.Origin)
	p.field("Author", r.Spec.Author)
	p.field("Commit", commit(r.Spec.Commit, v))
	p.field("Made of", madeOf(r.Spec.Commit))
	p.field("Signature", signature(r.Spec.Commit))
	return p
}
