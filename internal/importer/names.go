package importer

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
)

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// dns makes a name that Atoll takes of one that it may not: a DNS label that
// begins with a letter. What had to be cut keeps apart by its digest.
func dns(name string, most int) string {
	made := strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if made == "" || made[0] < 'a' {
		made = strings.TrimSuffix("x-"+made, "-")
	}
	if len(made) > most {
		sum := sha256.Sum256([]byte(name))
		made = strings.TrimRight(made[:most-9], "-") + "-" + hex.EncodeToString(sum[:4])
	}
	return made
}

const (
	mostApplication = 53
	mostCluster     = 63
)

var (
	wholeCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)
	shortCommit = regexp.MustCompile(`^[0-9a-f]{7,39}$`)
	versionTag  = regexp.MustCompile(`^v?[0-9]+\.[0-9]+(\.[0-9]+)?([-+][0-9A-Za-z.+-]+)?$`)
	versions    = regexp.MustCompile(`^[\^~<>=*]|\.[*xX](\.|$)|[ |,]`)
)

// gitRef reads a revision as people write it where branch, tag, range and commit
// share one field. guess tells that it could have been something else.
func gitRef(revision string) (ref v1alpha1.GitRef, guess string) {
	branch, isBranch := strings.CutPrefix(revision, "refs/heads/")
	tag, isTag := strings.CutPrefix(revision, "refs/tags/")
	switch {
	case revision == "" || revision == "HEAD":
	case isBranch:
		ref.Branch = branch
	case isTag:
		ref.Tag = tag
	case wholeCommit.MatchString(revision):
		ref.Commit = revision
	case versions.MatchString(revision):
		ref.Semver = revision
	case versionTag.MatchString(revision):
		ref.Tag, guess = revision, "taken for a tag; if it is a branch, say ref.branch"
	case shortCommit.MatchString(revision):
		ref.Branch, guess = revision, "taken for a branch; if it is a commit, say ref.commit with all 40 digits"
	default:
		ref.Branch = revision
	}
	return ref, guess
}

// cleanPath is a folder as Atoll writes it, "" for the whole repository.
func cleanPath(p string) string {
	p = strings.Trim(strings.TrimPrefix(p, "./"), "/")
	if p == "." {
		return ""
	}
	return p
}
