// Package class tells which clusters share a render. A render is a pure
// function of its inputs and of the answers it got about the cluster, so two
// clusters that would have given the same answers get the same objects: they
// are of one class, and one render serves both.
//
// It decides how questions are answered, what a class is called, and which
// known class a cluster belongs to. It leaves rendering to its callers.
package class

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"k8s.io/apimachinery/pkg/util/version"
)

// Capabilities is what a template may ask about a cluster.
type Capabilities struct {
	// KubeVersion is what the API server says of itself: "v1.33.4".
	KubeVersion string
	// APIVersions are "apps/v1" and "apps/v1/Deployment".
	APIVersions []string
}

// The questions.
const (
	// AskVersion is the version as the API server gives it; AskNormal is it
	// without a distribution's suffix.
	AskVersion = "KubeVersion.Version"
	AskNormal  = "KubeVersion.String"
	AskMajor   = "KubeVersion.Major"
	AskMinor   = "KubeVersion.Minor"
	// AskMatches is whether the version is in the range that Arg gives.
	AskMatches = "KubeVersion.Matches"
	// AskHas is whether the API server serves Arg.
	AskHas = "APIVersions.Has"
	// AskAll is everything that the API server serves.
	AskAll = "APIVersions"
)

// Unfit is that a source wants other clusters than these. It may be rendered
// when they are others, without having changed itself.
type Unfit struct{ Err error }

func (u *Unfit) Error() string { return u.Err.Error() }

// Unwrap gives the cause.
func (u *Unfit) Unwrap() error { return u.Err }

// Query is one question and its answer.
type Query struct {
	What   string
	Arg    string
	Answer string
}

// Answer is what this cluster says to a question; a question that is unknown,
// or about a version that cannot be read, has the answer "".
func (c Capabilities) Answer(what, arg string) string {
	switch what {
	case AskHas:
		return strconv.FormatBool(slices.Contains(c.APIVersions, arg))
	case AskAll:
		return strings.Join(slices.Sorted(slices.Values(c.APIVersions)), ",")
	}
	v, err := version.ParseGeneric(c.KubeVersion)
	if err != nil {
		return ""
	}
	switch what {
	case AskVersion:
		return "v" + strings.TrimPrefix(c.KubeVersion, "v")
	case AskNormal:
		return "v" + v.String()
	case AskMajor:
		return strconv.FormatUint(uint64(v.Major()), 10)
	case AskMinor:
		return strconv.FormatUint(uint64(v.Minor()), 10)
	case AskMatches:
		return strconv.FormatBool(inRange(arg, v.String()))
	}
	return ""
}

func inRange(constraint, v string) bool {
	c, err := semver.NewConstraint(constraint)
	if err != nil {
		return false
	}
	parsed, err := semver.NewVersion(v)
	return err == nil && c.Check(parsed)
}

// Record answers a render's questions and remembers them. It is for one
// goroutine.
type Record struct {
	of    Capabilities
	asked map[[2]string]string
}

// NewRecord answers as a cluster with these capabilities.
func NewRecord(of Capabilities) *Record {
	return &Record{of: of, asked: map[[2]string]string{}}
}

// Ask answers, and records both.
func (r *Record) Ask(what, arg string) string {
	answer := r.of.Answer(what, arg)
	r.asked[[2]string{what, arg}] = answer
	return answer
}

// Served is everything that the API server serves. The caller records what of
// it was looked at.
func (r *Record) Served() []string { return slices.Clone(r.of.APIVersions) }

// Queries are the distinct questions with their answers, sorted.
func (r *Record) Queries() []Query {
	queries := make([]Query, 0, len(r.asked))
	for q, answer := range maps.All(r.asked) {
		queries = append(queries, Query{What: q[0], Arg: q[1], Answer: answer})
	}
	slices.SortFunc(queries, func(a, b Query) int {
		if c := strings.Compare(a.What, b.What); c != 0 {
			return c
		}
		return strings.Compare(a.Arg, b.Arg)
	})
	return queries
}

// Matches tells whether a cluster would have given all these answers.
func Matches(queries []Query, c Capabilities) bool {
	return !slices.ContainsFunc(queries, func(q Query) bool { return c.Answer(q.What, q.Arg) != q.Answer })
}

// Key names a class: "sha256:" and 64 hex digits over the digest of a render's
// inputs and its queries in their order.
func Key(inputs string, queries []Query) string {
	h := sha256.New()
	field := func(s string) {
		h.Write(strconv.AppendInt(nil, int64(len(s)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(s))
	}
	field(inputs)
	for _, q := range queries {
		field(q.What)
		field(q.Arg)
		field(q.Answer)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
