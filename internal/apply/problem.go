package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/internal/refusal"
	"atoll.dev/atoll/internal/report"
)

// conflicts tells a refused server-side apply from other conflicts.
func conflicts(err error) bool {
	if !apierrors.IsConflict(err) {
		return false
	}
	for _, c := range causes(err) {
		if c.Type == metav1.CauseTypeFieldManagerConflict {
			return true
		}
	}
	return false
}

func causes(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}

// conflictProblem names the fields and who holds them.
func conflictProblem(j job, err error) *report.Problem {
	var fields []string
	for _, c := range causes(err) {
		holder := strings.TrimPrefix(c.Message, "conflict with ")
		fields = append(fields, fmt.Sprintf("%s (%s)", strings.TrimPrefix(c.Field, "."), holder))
	}
	return &report.Problem{Object: j.object.ref, Reason: "Conflict", Message: clip(
		"others hold " + strings.Join(fields, ", ") + "; set spec.adopt to take the object over, or remove the fields from the manifest")}
}

// failed says what an error means for one object. Errors that may pass by
// themselves stay errors.
func (e *Engine) failed(ctx context.Context, j job, err error) outcome {
	reason := ""
	switch {
	case errors.Is(err, errNoKind):
		reason = "NoKind"
	case len(refusal.Fields(err.Error())) > 0:
		return outcome{problem: &report.Problem{Object: j.object.ref, Reason: "Invalid", Message: clip(unfit(j, err))}}
	case unreachable(err), apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err):
		return outcome{err: err}
	case apierrors.IsNotFound(err):
		return e.notFound(ctx, j, err)
	case apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return outcome{err: err}
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		reason = "Forbidden"
		if again := e.renewAccess(ctx, j); again != nil {
			return outcome{err: again}
		}
	case apierrors.IsRequestEntityTooLargeError(err):
		reason = "TooLarge"
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err), isCode(err, http.StatusUnprocessableEntity):
		reason = "Invalid"
	default:
		return outcome{err: e.redacted(j, err)}
	}
	return outcome{unchangeable: unchangeable(err), problem: &report.Problem{Object: j.object.ref, Reason: reason, Message: clip(e.redacted(j, err).Error())}}
}

// notFound is a namespace that went away, or a kind that is served no more.
func (e *Engine) notFound(ctx context.Context, j job, err error) outcome {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces" && j.target.kind.namespaced {
		e.namespaceGone(j.target.id.Namespace)
		if _, again := e.ensureNamespace(ctx, j.want.Key.Project, j.target.id.Namespace); again != nil {
			return outcome{err: again}
		}
		return outcome{err: err}
	}
	e.kinds.Forget(j.target.id.Group)
	return outcome{problem: &report.Problem{Object: j.object.ref, Reason: "NoKind", Message: clip(err.Error())}}
}

// redacted keeps secret values out of messages: of a Secret only the fields
// are named that the API server refused.
func (e *Engine) redacted(j job, err error) error {
	if j.target.id.GroupKind() != secretKind {
		return err
	}
	var fields []string
	for _, c := range causes(err) {
		fields = append(fields, c.Field)
	}
	return fmt.Errorf("the API server refused it: %s %s", apierrors.ReasonForError(err), strings.Join(fields, ", "))
}

// unfit names the fields that do not fit the kind's schema; of a Secret not
// why, for that quotes the value.
func unfit(j job, err error) string {
	var fields []string
	for _, f := range refusal.Fields(err.Error()) {
		if j.target.id.GroupKind() == secretKind {
			f.Why = "does not fit the schema"
		}
		fields = append(fields, f.String())
	}
	return strings.Join(fields, "; ")
}

func isCode(err error, code int32) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code == code
}
