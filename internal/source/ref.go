package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

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
	return CheckVersion(r.Semver)
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

// highest of the tags in a range.
func (refs Refs) highest(wanted string) (Chosen, error) {
	name, err := highest(wanted, slices.Values(refs.under("refs/tags/")))
	switch {
	case err != nil:
		return Chosen{}, err
	case name == "":
		return Chosen{}, fmt.Errorf("no tag is a version in %q; the repository has %s", wanted, refs.names("refs/tags/"))
	}
	return refs.named("tag", "refs/tags/", name)
}

func (refs Refs) under(prefix string) []string {
	var names []string
	for ref := range refs {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			names = append(names, name)
		}
	}
	return names
}

// names lists a few of what there is.
func (refs Refs) names(prefix string) string { return Few(refs.under(prefix)) }
