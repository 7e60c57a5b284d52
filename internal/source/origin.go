package source

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// Kind is how a source is asked and fetched.
type Kind string

// The kinds of sources that the hub follows.
const (
	Git      Kind = "Git repository"
	Index    Kind = "Helm repository"
	Registry Kind = "registry"
)

// Follow is what an application says of a source that the hub follows, of
// whatever kind.
type Follow struct {
	Kind Kind
	// Field of spec.source that names it.
	Field string
	// URL is for people.
	URL       string
	SecretRef *v1alpha1.SecretReference
	Interval  *metav1.Duration
	Verify    *v1alpha1.Verification
}

// Followed is nil for what nobody has to fetch.
func Followed(s v1alpha1.Source) *Follow {
	switch {
	case s.Git != nil:
		return &Follow{Kind: Git, Field: "git", URL: s.Git.URL, SecretRef: s.Git.SecretRef, Interval: s.Git.Interval, Verify: s.Git.Verify}
	case s.Chart != nil:
		f := &Follow{Kind: Index, Field: "chart", URL: strings.TrimRight(s.Chart.Repository, "/") + "/" + s.Chart.Name,
			SecretRef: s.Chart.SecretRef, Interval: s.Chart.Interval, Verify: s.Chart.Verify}
		if strings.HasPrefix(s.Chart.Repository, "oci://") {
			f.Kind = Registry
		}
		return f
	case s.OCI != nil:
		return &Follow{Kind: Registry, Field: "oci", URL: s.OCI.URL, SecretRef: s.OCI.SecretRef, Interval: s.OCI.Interval, Verify: s.OCI.Verify}
	}
	return nil
}

// Noun is what people call a revision of it.
func (f *Follow) Noun() string {
	return map[string]string{"git": "commit", "chart": "chart", "oci": "artifact"}[f.Field]
}

// Told is a revision in words, such as "commit 1a2b3c4d5e6f of https://h/p" and
// "chart 1.2.3 (1a2b3c4d5e6f) of https://h/p".
func (f *Follow) Told(c *v1alpha1.Commit) string {
	short := ShortID(c.ID)
	if f.Kind != Git && c.Ref != "" {
		short = c.Ref + " (" + short + ")"
	}
	return f.Noun() + " " + short + " of " + f.URL
}

// Valued says which values a chart was rendered with, beside those that the
// application itself has; empty without any.
func (f *Follow) Valued(versions string) string {
	if versions == "" {
		return ""
	}
	return " with values " + ShortID(versions)
}

// Secret is what a secretRef of an application names.
type Secret struct {
	// Name is NAMESPACE/NAME, for people.
	Name string
	// Holder names the content, version included: what was fetched with it is for
	// those only who hold the same.
	Holder string
	Data   map[string][]byte
}

// Found is what a reference means now.
type Found struct {
	ID  string // as Revision.ID
	Ref string // empty for what is named by its ID
}

// Origin is a source as one application names it, with the right to read it.
// It is for one look.
type Origin interface {
	fmt.Stringer
	// Find is what the reference means, as asked at since or later: however many
	// applications ask, they share the answer.
	Find(ctx context.Context, since time.Time) (Found, error)
	// Verify says with which of the keys in a Secret what was found is signed;
	// without any it fails.
	Verify(ctx context.Context, f Found, keys Secret) (*v1alpha1.Verified, error)
	// Fetch brings what Find found; the snapshot stays until release is called.
	Fetch(ctx context.Context, f Found) (s Snapshot, release func(), err error)
	// Replaces says that one reference led to before and now leads to what does
	// not build on it.
	Replaces(ctx context.Context, before, now *v1alpha1.Commit) bool
}
