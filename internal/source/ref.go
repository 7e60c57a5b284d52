package source

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/Masterminds/semver/v3"

	"atoll.dev/atoll/api/v1alpha1"
)

// Refs are what a repository offers: names such as "refs/heads/main" and
// "HEAD", and the IDs of the commits that they lead to.
type Refs map[string]string

// Chosen is what a reference means now.
type Chosen struct {
	Ref string // empty for a commit that is named by its ID
	ID  string // 40 hex digits
}

// CheckRef says what is wrong with a reference, whatever the repository has.
func CheckRef(r v1alpha1.GitRef) error {
	given := 0
	for _, s := range []string{r.Branch, r.Tag, r.Semver, r.Commit} {
		if s != "" {
			given++
		}
	}
	if given > 1 {
		return errors.New("give at most one of branch, tag, semver and commit")
	}
	for kind, name := range map[string]string{"branch": r.Branch, "tag": r.Tag} {
		if name != "" && !refName(name) {
			return fmt.Errorf("%q is no name of a %s", name, kind)
		}
	}
	if r.Commit != "" && !IsCommit(r.Commit) {
		return fmt.Errorf("%q is no commit; give all 40 hex digits, for what is shorter may come to mean another", r.Commit)
	}
	if r.Semver != "" {
		if _, err := semver.NewConstraint(r.Semver); err != nil {
			return fmt.Errorf("%q is no range of versions, such as \">=1.2.0 <2.0.0\" or \"1.x\"", r.Semver)
		}
	}
	return nil
}

// IsCommit tells the ID of a commit from other words.
func IsCommit(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}

// refName follows git check-ref-format.
func refName(name string) bool {
	if len(name) > 255 || strings.ContainsAny(name, " ~^:?*[\\") || strings.ContainsFunc(name, unicode.IsControl) ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasPrefix(name, "-") || strings.HasSuffix(name, ".") || name == "@" {
		return false
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// Choose finds the commit that a reference means; the error is for people.
func (refs Refs) Choose(r v1alpha1.GitRef) (Chosen, error) {
	if err := CheckRef(r); err != nil {
		return Chosen{}, err
	}
	switch {
	case r.Commit != "":
		return Chosen{ID: r.Commit}, nil
	case len(refs) == 0:
		return Chosen{}, errors.New("the repository is empty: it has no branch and no tag")
	case r.Branch != "":
		return refs.named("branch", "refs/heads/", r.Branch)
	case r.Tag != "":
		return refs.named("tag", "refs/tags/", r.Tag)
	case r.Semver != "":
		return refs.highest(r.Semver)
	}
	if id := refs["HEAD"]; id != "" {
		return Chosen{Ref: "HEAD", ID: id}, nil
	}
	return Chosen{}, fmt.Errorf("the repository's HEAD leads nowhere; name a branch: %s", refs.names("refs/heads/"))
}

func (refs Refs) named(kind, prefix, name string) (Chosen, error) {
	if id := refs[prefix+name]; id != "" {
		return Chosen{Ref: prefix + name, ID: id}, nil
	}
	return Chosen{}, fmt.Errorf("the repository has no %s %q; it has %s", kind, name, refs.names(prefix))
}

// highest of the tags in a range; of two that mean one version, such as 1.2.0
// and v1.2.0, the one whose name comes first.
func (refs Refs) highest(wanted string) (Chosen, error) {
	constraint, err := semver.NewConstraint(wanted)
	if err != nil {
		return Chosen{}, fmt.Errorf("%q is no range of versions: %w", wanted, err)
	}
	var best *semver.Version
	var chosen Chosen
	for ref, id := range refs {
		name, ok := strings.CutPrefix(ref, "refs/tags/")
		if !ok {
			continue
		}
		v, err := semver.NewVersion(name)
		if err != nil || !constraint.Check(v) {
			continue
		}
		if best == nil || cmp.Or(v.Compare(best), cmp.Compare(v.Metadata(), best.Metadata()), cmp.Compare(chosen.Ref, ref)) > 0 {
			best, chosen = v, Chosen{Ref: ref, ID: id}
		}
	}
	if best == nil {
		return Chosen{}, fmt.Errorf("no tag is a version in %q; the repository has %s", wanted, refs.names("refs/tags/"))
	}
	return chosen, nil
}

// names lists a few of what there is.
func (refs Refs) names(prefix string) string {
	var names []string
	for ref := range refs {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	const most = 5
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
