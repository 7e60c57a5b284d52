package validate

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"atoll.dev/atoll/api/v1alpha1"
)

// Lengths of names. A project's and an application's leave room for the
// prefixes and digests that names in members and of Revisions add.
const (
	maxClusterName = 63
	maxShortName   = 53
)

var (
	nameForm = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	// tokenForm is for regions, jurisdictions, tenants and the like, which are
	// compared letter by letter: one spelling only.
	tokenForm  = regexp.MustCompile(`^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$`)
	kindForm   = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

func objectName(name string, limit int) field.ErrorList {
	path := field.NewPath("metadata", "name")
	if len(name) > limit || !nameForm.MatchString(name) {
		return field.ErrorList{field.Invalid(path, name, fmt.Sprintf(
			"must be lower-case letters, digits and '-', start with a letter, end with a letter or digit, and have at most %d characters", limit))}
	}
	return nil
}

// token checks a lower-case word; an empty one is for required to refuse.
func token(path *field.Path, value string, limit int) field.ErrorList {
	if value == "" || (len(value) <= limit && tokenForm.MatchString(value)) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value, fmt.Sprintf(
		"must be lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends, and have at most %d characters", limit))}
}

// tokens checks a list of words: none empty, none twice.
func tokens(path *field.Path, values []string, limit int) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, value := range values {
		at := path.Index(i)
		if value == "" {
			errs = append(errs, field.Required(at, "an empty entry says nothing; remove it"))
			continue
		}
		if seen[value] {
			errs = append(errs, field.Duplicate(at, value))
		}
		seen[value] = true
		errs = append(errs, token(at, value, limit)...)
	}
	return errs
}

// text refuses control characters, which would forge lines in tables and logs.
func text(path *field.Path, value string) field.ErrorList {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return field.ErrorList{field.Invalid(path, value, "must be one line without control characters")}
	}
	return nil
}

func dnsLabel(path *field.Path, value string) field.ErrorList {
	var errs field.ErrorList
	for _, problem := range validation.IsDNS1123Label(value) {
		errs = append(errs, field.Invalid(path, value, problem))
	}
	return errs
}

func subdomain(path *field.Path, value string) field.ErrorList {
	var errs field.ErrorList
	for _, problem := range validation.IsDNS1123Subdomain(value) {
		errs = append(errs, field.Invalid(path, value, problem))
	}
	return errs
}

func kind(path *field.Path, value string) field.ErrorList {
	if kindForm.MatchString(value) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value, "must be a kind such as Deployment: letters and digits, starting with a capital")}
}

func group(path *field.Path, value string) field.ErrorList {
	switch {
	case value == "":
		return nil
	case strings.Contains(value, "/"):
		return field.ErrorList{field.Invalid(path, value, "must be a group without a version, such as \"apps\"")}
	}
	return subdomain(path, value)
}

// namespacePattern checks a member namespace, or a prefix of some ending in "*".
func namespacePattern(path *field.Path, value string) field.ErrorList {
	prefix, isPrefix := strings.CutSuffix(value, "*")
	switch {
	case value == "*":
		return field.ErrorList{field.Invalid(path, value, "would own every namespace; name them, or give a prefix such as \"shop-*\"")}
	case value == "":
		return field.ErrorList{field.Required(path, "give a namespace, or a prefix ending in \"*\"")}
	case strings.HasPrefix(value, "kube-") || strings.HasPrefix(value, v1alpha1.SystemNamespace):
		return field.ErrorList{field.Forbidden(path, value+" belongs to the cluster or the agent; a project cannot own it")}
	case isPrefix:
		// "a" completes a prefix that ends in '-', which alone is no label.
		value = prefix + "a"
	}
	errs := dnsLabel(path, value)
	if strings.Contains(prefix, "*") {
		errs = field.ErrorList{field.Invalid(path, value, "\"*\" may only stand at the end")}
	}
	return errs
}
