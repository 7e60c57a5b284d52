package trust

import (
	"fmt"
	"net/http"
	"time"

	"atoll.dev/atoll/internal/wire"
)

// Reason names why an agent was refused. The values are frozen as v0.
type Reason string

// The reasons, each with the HTTP status in statusOf.
const (
	// BadRequest: the request is not one of this protocol.
	BadRequest Reason = "BadRequest"
	// BadNonce: the challenge is unknown, used or older than two minutes.
	BadNonce Reason = "BadNonce"
	// BadSignature: the caller does not have the key it claims.
	BadSignature Reason = "BadSignature"
	// TokenUnknown: no such token was made, or a newer one replaced it.
	TokenUnknown Reason = "TokenUnknown"
	// TokenUsed: another agent has joined with it.
	TokenUsed Reason = "TokenUsed"
	// TokenExpired: it is older than its hour.
	TokenExpired Reason = "TokenExpired"
	// TokenOtherCluster: it was made for another cluster.
	TokenOtherCluster Reason = "TokenOtherCluster"
	// AlreadyJoined: this Kubernetes cluster is enrolled under another name.
	AlreadyJoined Reason = "AlreadyJoined"
	// WrongCluster: the kube-system UID is not the enrolled one.
	WrongCluster Reason = "WrongCluster"
	// Revoked: the cluster was removed or the key replaced.
	Revoked Reason = "Revoked"
	// NotAccepted: nobody has accepted the cluster yet.
	NotAccepted Reason = "NotAccepted"
	// Busy: too many requests, or the hub cannot look up its records.
	Busy Reason = "Busy"
)

// Refused is a refusal that the agent and its owner may read.
type Refused struct {
	Reason  Reason
	Message string
	// RetryAfter is zero when trying again without a change is useless.
	RetryAfter time.Duration
}

// Error is the sentence.
func (r *Refused) Error() string { return r.Message }

// Refusal is r as the link says it.
func (r *Refused) Refusal() wire.Refusal {
	return wire.Refusal{Reason: string(r.Reason), Message: r.Message, RetryAfterMillis: r.RetryAfter.Milliseconds()}
}

func refuse(reason Reason, format string, args ...any) *Refused {
	return &Refused{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func (r *Refused) retry(after time.Duration) *Refused {
	r.RetryAfter = after
	return r
}

var statusOf = map[Reason]int{
	BadRequest:        http.StatusBadRequest,
	BadNonce:          http.StatusConflict,
	BadSignature:      http.StatusForbidden,
	TokenUnknown:      http.StatusForbidden,
	TokenUsed:         http.StatusForbidden,
	TokenExpired:      http.StatusForbidden,
	TokenOtherCluster: http.StatusForbidden,
	AlreadyJoined:     http.StatusConflict,
	WrongCluster:      http.StatusForbidden,
	Revoked:           http.StatusForbidden,
	NotAccepted:       http.StatusForbidden,
	Busy:              http.StatusServiceUnavailable,
}
