// Package source says where manifests come from when the hub fetches them: how
// repositories, charts and artifacts are named, which revision a reference
// means, whose signature counts, and what a fetched folder is. It decides and
// does no I/O.
//
// It leaves to others: fetching (its packages git, helm and oci, each an Origin
// of its own), which addresses may be dialled
// (internal/egress), making manifests of a folder (internal/render) and when to
// look (internal/controllers/source).
package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// Snapshot is one revision of a source on the hub's disk. It holds regular
// files and directories only, and is not to be written to.
type Snapshot struct {
	// Dir is the root of everything fetched.
	Dir string
	// Path is the folder within Dir that the application asked for, "." for all.
	Path     string
	Revision Revision
}

// Revision names what was fetched, as its origin tells.
type Revision struct {
	// ID is "sha1:" and 40 hex digits for a commit, "sha256:" and 64 for what a
	// digest names.
	ID string
	// Ref is what led to it, such as "refs/heads/main".
	Ref     string
	Author  string
	Message string // its first line
	Time    time.Time
	// Source and SourceRevision are what it says that it was made of.
	Source, SourceRevision string
}

// Commit is the record of r in an object.
func (r Revision) Commit() *v1alpha1.Commit {
	c := &v1alpha1.Commit{ID: r.ID, Ref: clip(r.Ref, 300), Author: clip(r.Author, maxLine), Message: clip(r.Message, maxLine),
		Source: clip(r.Source, maxLine), SourceRevision: clip(r.SourceRevision, maxLine)}
	if !r.Time.IsZero() {
		t := metav1.NewTime(r.Time.UTC().Truncate(time.Second))
		c.Time = &t
	}
	return c
}

// ShortID is how people read a revision's ID.
func ShortID(id string) string {
	_, hex, ok := strings.Cut(id, ":")
	if !ok {
		hex = id
	}
	return hex[:min(len(hex), 12)]
}

// Of names what an application asks to be fetched. What only says how to get
// at it, which nothing that was fetched depends on, is left out.
func Of(app *v1alpha1.Application) string {
	asked := app.Spec.Source.DeepCopy()
	switch {
	case asked.Git != nil:
		asked.Git.Interval, asked.Git.SecretRef = nil, nil
	case asked.Chart != nil:
		asked.Chart.Interval, asked.Chart.SecretRef = nil, nil
	case asked.OCI != nil:
		asked.OCI.Interval, asked.OCI.SecretRef = nil, nil
	}
	var values []v1alpha1.Override // by their places
	for i, o := range app.Spec.Overrides {
		if o.Values != nil {
			values = append(make([]v1alpha1.Override, 0, i+1), values...)
			for len(values) < i {
				values = append(values, v1alpha1.Override{})
			}
			values = append(values, v1alpha1.Override{Clusters: o.Clusters, Values: o.Values})
		}
	}
	data, err := json.Marshal(struct {
		Source    *v1alpha1.Source
		Namespace string
		Values    []v1alpha1.Override `json:",omitempty"`
	}{asked, app.Spec.Namespace, values})
	if err != nil {
		panic(err) // plain strings
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Folder is the path of a folder within a repository, "." for all of it.
func Folder(p string) (string, error) {
	clean := path.Clean(p)
	switch {
	case p == "":
		return ".", nil
	case strings.HasPrefix(p, "/"):
		return "", fmt.Errorf("path %q is absolute; give it from the root of the repository, such as %q", p, strings.TrimLeft(clean, "/"))
	case !fs.ValidPath(clean) || strings.ContainsFunc(clean, unicode.IsControl) || strings.Contains(clean, `\`):
		return "", fmt.Errorf("path %q leaves the repository or is none", p)
	}
	for part := range strings.SplitSeq(clean, "/") {
		if strings.EqualFold(part, ".git") {
			return "", fmt.Errorf("path %q leads into .git, where no manifests are", p)
		}
	}
	return clean, nil
}

// PlainName refuses names of files that mean something else to some program.
func PlainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.EqualFold(name, ".git") && len(name) <= 255 &&
		!strings.ContainsAny(name, "/\\") && !strings.ContainsFunc(name, unicode.IsControl)
}

// maxLine bounds what is kept of an author and of a message, in bytes.
const maxLine = 512

// Line is the first line of what a commit says, fit to be shown.
func Line(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return clip(strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) && r != ' ' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, ""))), maxLine)
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}

// Reasons of failures, which a person can act on.
const (
	// Of the way to a source; the same may succeed later.
	Unreachable        = "Unreachable"
	AddressRefused     = "AddressRefused"
	CredentialMissing  = "CredentialMissing"
	CredentialRefused  = "CredentialRefused"
	HostKeyUnknown     = "HostKeyUnknown"
	RepositoryNotFound = "RepositoryNotFound"
	RefNotFound        = "RefNotFound"
	NoRepository       = "NoRepository"
	// Of signatures; another one may be made.
	KeyMissing       = "KeyMissing"
	SignatureMissing = "SignatureMissing"
	SignatureInvalid = "SignatureInvalid"
	// Of what was fetched; the same commit will always fail.
	SourceEmpty   = "SourceEmpty"
	SourceRefused = "SourceRefused"
	TooLarge      = "TooLarge"
)

// Failure is why there is no snapshot, in words for who owns the source.
type Failure struct {
	Reason string
	Err    error
	// Lasting says that this commit will fail again, so that only another one,
	// or another spec, is worth a look.
	Lasting bool
}

// Error is fit to be shown: a server and a template may say anything, such as
// what has a terminal forget the lines before.
func (f *Failure) Error() string { return shown(f.Err.Error()) }

// maxFailure bounds what is said of a failure, in bytes.
const maxFailure = 8 << 10

func shown(text string) string {
	return clip(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(text[:min(len(text), 2*maxFailure)], "")), maxFailure)
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Fail is a Failure of the way to a source.
func Fail(reason, format string, args ...any) error {
	return &Failure{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Refuse is a Failure of what was fetched.
func Refuse(reason, format string, args ...any) error {
	return &Failure{Reason: reason, Err: fmt.Errorf(format, args...), Lasting: true}
}
