package apiserver

import (
	"context"
	"net"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	kubeaudit "k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	"atoll.dev/atoll/internal/audit"
)

// Witness is told of writes after they were judged and before they are stored, and
// of what is read that not everybody should. What it cannot take up does not happen.
type Witness interface {
	// Sees reports whether it wants to be told of what by does to a resource.
	Sees(ctx context.Context, resource schema.GroupResource, by user.Info) bool
	// Wrote is told of a write, of which refused says why it was not admitted, and of a
	// dry run that Reveals. Old and New are missing where they cannot be told.
	Wrote(ctx context.Context, write Write, refused error) error
	// Reads is told of a get, list or watch before it is answered.
	Reads(ctx context.Context, read *request.RequestInfo, by user.Info) error
}

// witnessed tells the witness about a write that was judged, and returns the answer.
func witnessed(ctx context.Context, witness Witness, write *Write, refused error) error {
	if witness == nil || write.DryRun && !write.Reveals() || !witness.Sees(ctx, write.Resource.GroupResource(), write.User) {
		return refused
	}
	if err := witness.Wrote(ctx, *write, refused); err != nil && refused == nil {
		return unwitnessed(err)
	}
	return refused
}

func unwitnessed(err error) error {
	return apierrors.NewServiceUnavailable("this would not be in the audit log, so it is refused: " + err.Error())
}

// witnessing has every request know its origin, and the reads of Secrets told.
func witnessing(witness Witness, build func(http.Handler, *genericapiserver.Config) http.Handler) func(http.Handler, *genericapiserver.Config) http.Handler {
	if witness == nil {
		return build
	}
	return func(api http.Handler, config *genericapiserver.Config) http.Handler {
		config.Authentication.Authenticator = remembering{config.Authentication.Authenticator}
		return withOrigin(build(withReads(api, witness), config))
	}
}

func withOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		source, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			source = r.RemoteAddr
		}
		origin := &audit.Origin{Source: source, ForwardedFor: strings.Join(r.Header.Values("X-Forwarded-For"), ", "), UserAgent: r.UserAgent()}
		next.ServeHTTP(w, r.WithContext(audit.WithOrigin(r.Context(), origin)))
	})
}

// ImpersonatorExtra is what a hub says of a user with a call that it passes on to another:
// by whose credential it came, when that was not the user's own.
const ImpersonatorExtra = "atoll.dev/impersonator"

// remembering notes whose credential came with a request: what impersonates takes
// the place of the user later.
type remembering struct{ authenticator.Request }

func (a remembering) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	answer, known, err := a.Request.AuthenticateRequest(r)
	if origin := audit.OriginFrom(r.Context()); known && err == nil && origin != nil {
		origin.Authenticated = answer.User.GetName()
		if by := answer.User.GetExtra()[ImpersonatorExtra]; len(by) == 1 {
			origin.Authenticated = by[0]
		}
	}
	return answer, known, err
}

var secrets = schema.GroupResource{Resource: "secrets"}

// withReads is behind authorization: what was refused is no read.
func withReads(next http.Handler, witness Witness) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, known := request.RequestInfoFrom(r.Context())
		by, named := request.UserFrom(r.Context())
		if known && named && info.IsResourceRequest && reads(info) && witness.Sees(r.Context(), secrets, by) {
			if err := witness.Reads(r.Context(), info, by); err != nil {
				responsewriters.ErrorNegotiated(unwitnessed(err), legacyscheme.Codecs, schema.GroupVersion{Version: "v1"}, w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func reads(info *request.RequestInfo) bool {
	return info.APIGroup == "" && info.Resource == "secrets" && (info.Verb == "get" || info.Verb == "list" || info.Verb == "watch")
}

// Reveals reports whether it is answered with what not everybody should read, even if
// it changes nothing: the Secret as it is, or a token, which is real in a dry run too.
func (w *Write) Reveals() bool {
	switch w.Resource.GroupResource() {
	case secrets:
		return w.Operation != admission.Create
	case schema.GroupResource{Resource: "serviceaccounts"}:
		return w.Subresource == "token"
	}
	return false
}

// RequestID is what the answer's Audit-ID says.
func RequestID(ctx context.Context) string { return kubeaudit.GetAuditIDTruncated(ctx) }

// Object is the name of what is written, if it has one by now: of a collection that
// is deleted the request names none.
func (w *Write) Object() string {
	for _, o := range []*unstructured.Unstructured{w.New, w.Old} {
		if w.Name == "" && o != nil && o.GetName() != "" {
			return o.GetName()
		}
	}
	return w.Name
}
