package source

import (
	"cmp"

	"atoll.dev/atoll/api/v1alpha1"
)

// By is whose a revision is: who uploaded it, as the hub authenticated them; the author
// of a commit, as the commit claims; of a chart or an artifact, which names nobody,
// where it comes from. It is empty where nobody knows.
func By(r *v1alpha1.RevisionSpec) string {
	if r.Commit == nil {
		return r.Author
	}
	return cmp.Or(r.Commit.Author, r.Origin)
}
