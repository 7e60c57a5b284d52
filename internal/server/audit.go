package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	kubeaudit "k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/endpoints/request"

	"atoll.dev/atoll/internal/audit"
	"atoll.dev/atoll/internal/fleet"
)

// audited has a call recorded with its result before it is answered. It does not
// begin while the log could not take it up.
func (s *server) audited(verb, resource, subresource string, f func(*http.Request) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		if err := s.Audit.Ready(r.Context()); err != nil {
			return nil, unrecorded(err)
		}
		answer, err := f(r)
		record := called(r, verb)
		record.Group, record.Resource, record.Subresource = fleet.GroupVersion.Group, resource, subresource
		record.Namespace = r.PathValue("project")
		record.Name = r.PathValue("app") + r.PathValue("cluster") // no call names both
		record.Result, record.Code = audit.Done, http.StatusOK
		if err != nil {
			status := statusOf(err)
			record.Result, record.Code, record.Message = audit.Failed, int(status.Code), status.Message
		}
		record.Changes = told(answer)
		// Done is done, whether the caller waits or not.
		if lost := s.Audit.Append(context.WithoutCancel(r.Context()), record); lost != nil && err == nil {
			return nil, apierrors.NewInternalError(errors.New("this was done, but the audit log lacks it: " + lost.Error()))
		}
		return answer, err
	}
}

func unrecorded(err error) error {
	return apierrors.NewServiceUnavailable("this would not be in the audit log, so it is refused: " + err.Error())
}

// called is who calls, and from where.
func called(r *http.Request, verb string) audit.Record {
	record := audit.Record{Verb: verb, Request: kubeaudit.GetAuditIDTruncated(r.Context())}
	if who, err := caller(r); err == nil {
		record.From(audit.OriginFrom(r.Context()), who.GetName(), who.GetGroups())
	}
	return record
}

// told is what an answer says that was made: never a token.
func told(answer any) []audit.Change {
	if receipt, ok := answer.(fleet.Receipt); ok && receipt.Digest != "" {
		return []audit.Change{{Path: "content", After: []byte(strconv.Quote(receipt.Digest))}}
	}
	return nil
}

var memberPaths = request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}

// intimate are the parts of objects through which people act inside, or see what
// is said there; a token that is asked for in a dry run is a token.
var intimate = sets.NewString("token", "log", "exec", "attach", "portforward", "proxy", "ephemeralcontainers")

// tunnelled is the record of a call to a member's API; none is kept of what only
// reads, but for logs and Secrets, and of what only asks what would be.
func tunnelled(r *http.Request, cluster, path string) (record audit.Record, keep bool) {
	query := r.URL.Query()
	info, err := memberPaths.NewRequestInfo(&http.Request{Method: r.Method, URL: &url.URL{Path: path, RawQuery: r.URL.RawQuery}})
	if err != nil {
		info = &request.RequestInfo{Verb: strings.ToLower(r.Method), Name: path}
	}
	record = called(r, info.Verb)
	record.Cluster, record.Group, record.Resource, record.Subresource = cluster, info.APIGroup, info.Resource, info.Subresource
	record.Namespace, record.Name = info.Namespace, info.Name
	if !info.IsResourceRequest {
		record.Name = path
	}
	if container := query.Get("container"); container != "" {
		record.Message = "container " + container
	}
	if command := query.Get("command"); command != "" {
		record.Message = strings.TrimSpace(record.Message + " runs " + command) // its arguments may hold anything
	}
	reads := info.Verb == "get" || info.Verb == "list" || info.Verb == "watch" || info.Verb == "head" || info.Verb == "options"
	asks := info.APIGroup == "authentication.k8s.io" || info.APIGroup == "authorization.k8s.io" || query.Has("dryRun")
	private := intimate.Has(info.Subresource) || info.APIGroup == "" && info.Resource == "secrets"
	return record, private || !reads && !asks
}

// passage records the beginning of a call to a member before anything passes. ended
// records the end of it, with the status that was answered, 0 if there was none.
func (s *server) passage(r *http.Request, cluster, path string) (ended func(code int), err error) {
	record, keep := tunnelled(r, cluster, path)
	if !keep {
		return func(int) {}, nil
	}
	record.Stage = audit.Begin
	if err := s.Audit.Append(r.Context(), record); err != nil {
		return nil, unrecorded(err)
	}
	began := time.Now() // by no clock that can be set
	return func(code int) {
		record.Stage, record.Code, record.Milliseconds = audit.End, code, time.Since(began).Milliseconds()
		record.Result = audit.Done
		if code == 0 || code >= http.StatusBadRequest {
			record.Result = audit.Failed
		}
		// That it began is known; a log that lacks the end says so itself.
		_ = s.Audit.Append(context.WithoutCancel(r.Context()), record)
	}, nil
}

// records answers from the log, a page at a time.
func (s *server) records(r *http.Request) (any, error) {
	q := r.URL.Query()
	query := audit.Query{User: q.Get("user"), Verb: q.Get("verb"), Namespace: q.Get("namespace"), Resource: q.Get("resource"), Name: q.Get("name")}
	for name, into := range map[string]*time.Time{"since": &query.Since, "until": &query.Until} {
		if text := q.Get(name); text != "" {
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return nil, badRequest("%s=%q is no time such as 2026-01-31T12:00:00Z", name, text)
			}
			*into = at
		}
	}
	limit := uint64(0)
	for name, into := range map[string]*uint64{"limit": &limit, "continue": &query.From} {
		if text := q.Get(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 63)
			if err != nil || n == 0 {
				return nil, badRequest("%s=%q is no number from 1 on", name, text)
			}
			*into = n
		}
	}
	query.Limit = int(min(limit, audit.MaxPage))
	page, err := s.Audit.Query(r.Context(), query)
	if err != nil {
		return nil, err
	}
	return page, nil
}

// verification reads the whole log; a second at once would only take the disk from the first.
func (s *server) verification(r *http.Request) (any, error) {
	select {
	case s.verifying <- struct{}{}:
		defer func() { <-s.verifying }()
	default:
		return nil, apierrors.NewTooManyRequests("the audit log is being verified; ask again when that is done", 5)
	}
	verdict, err := s.Audit.Verify(r.Context())
	if err != nil {
		return nil, err
	}
	return verdict, nil
}
