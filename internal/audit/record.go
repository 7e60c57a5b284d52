// Package audit keeps a log of who did what: records in files that are only ever
// added to, each with the hash of the one before, and a signed word about the
// last. It decides how records are chained, stored, found again and verified.
// What is worth a record, and what may not go on without one, is for those who
// write them.
package audit

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Record is one act, as it lies in the log: one line of JSON.
type Record struct {
	// Sequence counts from 1; Previous is the hash of the record before.
	Sequence uint64 `json:"seq"`
	Previous string `json:"prev"`
	// Time is when the hub heard of it.
	Time time.Time `json:"time"`
	// Request is the API server's ID of the request: the Audit-ID of its answer.
	Request string   `json:"request,omitempty"`
	User    string   `json:"user,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	// Impersonator is who acted in the name of User; empty if that was User.
	Impersonator string `json:"impersonator,omitempty"`
	// Source is the address that called, ForwardedFor what it claims of those
	// before it, and UserAgent what it calls itself.
	Source       string `json:"source,omitempty"`
	ForwardedFor string `json:"forwardedFor,omitempty"`
	UserAgent    string `json:"userAgent,omitempty"`

	Verb string `json:"verb"`
	// Cluster is the member in which it was done, empty for the hub itself.
	Cluster     string `json:"cluster,omitempty"`
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name,omitempty"`

	Changes []Change `json:"changes,omitempty"`
	// MoreChanges counts those that are left out.
	MoreChanges int `json:"moreChanges,omitempty"`
	// Reason is why, by the word of who did it.
	Reason string `json:"reason,omitempty"`
	// Stage is Begin and End of what takes its time; empty for all else.
	Stage  string `json:"stage,omitempty"`
	Result string `json:"result,omitempty"`
	// Code is the status of the answer, as in HTTP, where it is known.
	Code int `json:"code,omitempty"`
	// Message is why it was refused, or what the log says of itself.
	Message string `json:"message,omitempty"`
	// Milliseconds is how long it took, at its End.
	Milliseconds int64 `json:"ms,omitempty"`
	// Hash is of all the others.
	Hash string `json:"hash,omitempty"`
}

// Change is one field before and after, as JSON; absent where there was nothing.
type Change struct {
	Path   string          `json:"path"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// What became of an act.
const (
	// Admitted is a write that was let through to the store.
	Admitted = "Admitted"
	// Refused is one that was not.
	Refused = "Refused"
	// Done and Failed are of calls that the hub or a member answered.
	Done   = "Done"
	Failed = "Failed"
)

// The stages of what takes its time.
const (
	Begin = "Begin"
	End   = "End"
)

// What the log says of itself, as verbs that no caller can have.
const (
	// Started: a hub began to write here.
	Started = "audit-started"
	// Gap: acts could not be recorded.
	Gap = "audit-gap"
	// Recovered: the log ended as if its hub was killed.
	Recovered = "audit-recovered"
	// Breached: the log was not as its signed head says.
	Breached = "audit-breached"
)

// Origin is where a request came from and who showed a credential with it.
type Origin struct {
	Source, ForwardedFor, UserAgent string
	// Authenticated is by whose credential; impersonation changes the user later.
	Authenticated string
}

type originKey struct{}

// WithOrigin has what serves a request know its origin.
func WithOrigin(ctx context.Context, o *Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginFrom is nil for what came by no request.
func OriginFrom(ctx context.Context) *Origin {
	o, _ := ctx.Value(originKey{}).(*Origin)
	return o
}

// From sets who called and from where.
func (r *Record) From(o *Origin, user string, groups []string) {
	r.User, r.Groups = user, groups
	if o == nil {
		return
	}
	r.Source, r.ForwardedFor, r.UserAgent = o.Source, o.ForwardedFor, o.UserAgent
	if o.Authenticated != user {
		r.Impersonator = o.Authenticated
	}
}

// Bounds of what a caller can make a record hold.
const (
	maxText   = 512 // bytes of one text
	maxReason = 2048
	maxGroups = 64
)

// bound keeps a record far below a line's bound, whatever a caller sent.
func (r *Record) bound() {
	for _, s := range []*string{
		&r.Request, &r.User, &r.Impersonator, &r.Source, &r.ForwardedFor, &r.UserAgent, &r.Verb,
		&r.Cluster, &r.Group, &r.Resource, &r.Subresource, &r.Namespace, &r.Name,
	} {
		*s = clip(*s, maxText)
	}
	r.Reason, r.Message = clip(withoutCredentials(r.Reason), maxReason), clip(withoutCredentials(r.Message), maxReason)
	if left := len(r.Groups) - maxGroups; left > 0 {
		r.Groups = r.Groups[:maxGroups:maxGroups]
	}
	for i, g := range r.Groups {
		if len(g) > maxText {
			r.Groups = append([]string{}, r.Groups...) // they are the caller's
			r.Groups[i] = clip(g, maxText)
		}
	}
}

// clip cuts s to about n bytes of whole characters.
func clip(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
