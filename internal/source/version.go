package source

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"atoll.dev/atoll/api/v1alpha1"
)

// CheckVersion says what is wrong with a version or a range of versions.
func CheckVersion(wanted string) error {
	if wanted == "" {
		return nil
	}
	if _, err := semver.NewConstraint(wanted); err != nil {
		return fmt.Errorf("%q is neither a version nor a range of them, such as \">=1.2.0 <2.0.0\" or \"1.x\"", wanted)
	}
	return nil
}

// IsVersion tells one version from a range.
func IsVersion(wanted string) bool {
	_, err := semver.StrictNewVersion(wanted)
	return err == nil
}

// CheckArtifact says what is wrong with a reference, whatever the registry has.
func CheckArtifact(r v1alpha1.OCIRef) error {
	given := 0
	for _, s := range []string{r.Tag, r.Semver, r.Digest} {
		if s != "" {
			given++
		}
	}
	if given > 1 {
		return fmt.Errorf("give at most one of tag, semver and digest")
	}
	if r.Digest != "" && !IsDigest(r.Digest) {
		return fmt.Errorf(`%q is no digest: that is "sha256:" and 64 hex digits`, r.Digest)
	}
	return CheckVersion(r.Semver)
}

// IsDigest tells "sha256:" and 64 hex digits from other words.
func IsDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// Highest is the name of the highest version in a range, or of the very one
// that is wanted; without a wish the highest that is no prerelease.
func Highest(wanted string, names []string) (string, error) {
	if wanted != "" && slices.Contains(names, wanted) {
		return wanted, nil
	}
	name, err := highest(cmp.Or(wanted, "*"), slices.Values(names))
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", fmt.Errorf("no version is in %q; there are %s", cmp.Or(wanted, "*"), Few(names))
	}
	return name, nil
}

// highest is "" when no name is a version in the range. Of two that mean one
// version, such as 1.2.0 and v1.2.0, it is the one whose name comes first.
func highest(wanted string, names iter.Seq[string]) (string, error) {
	constraint, err := semver.NewConstraint(wanted)
	if err != nil {
		return "", fmt.Errorf("%q is no range of versions: %w", wanted, err)
	}
	var best *semver.Version
	var chosen string
	for name := range names {
		v, err := semver.NewVersion(name)
		if err != nil || !constraint.Check(v) {
			continue
		}
		if best == nil || cmp.Or(v.Compare(best), cmp.Compare(v.Metadata(), best.Metadata()), cmp.Compare(chosen, name)) > 0 {
			best, chosen = v, name
		}
	}
	return chosen, nil
}

// Few lists a few of what there is.
func Few(names []string) string {
	names = slices.Sorted(slices.Values(names))
	const most = 5
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return Line(fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most))
	}
	return Line(strings.Join(names, ", "))
}
