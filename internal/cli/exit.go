package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The exit codes.
const (
	exitOK = iota
	// exitNo is a negative answer to a question that was understood.
	exitNo
	// exitFailed is wrong use or a failure.
	exitFailed
	// exitPartial is an answer from only a part of the fleet.
	exitPartial
	// exitInterrupted is what shells say of a program that Ctrl-C ended.
	exitInterrupted = 130
	// exitTerminated is the same of one that was told to end.
	exitTerminated = 143
)

// codedError ends a command with a code of its own.
type codedError struct {
	code int
	err  error // nil when everything has been said
}

func (e *codedError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *codedError) Unwrap() error { return e.err }

// no is the negative answer, already printed.
func no() error { return &codedError{code: exitNo} }

// wrong is a mistake in what was typed, told in one sentence.
func wrong(format string, args ...any) error {
	return &codedError{code: exitFailed, err: fmt.Errorf(format, args...)}
}

// codeOf is the exit code that an error stands for.
func codeOf(err error) int {
	coded := (*codedError)(nil)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	default:
		return exitFailed
	}
}

// sentence is what to print for an error: the cause a person can act on, and
// for a refusal one line for each field.
func sentence(err error) string { return clipped(told(err)) }

func told(err error) string {
	coded := (*codedError)(nil)
	if errors.As(err, &coded) && coded.err == nil {
		return ""
	}
	if s := refusedFields(err); s != "" {
		return s
	}
	if s := unreachable(err); s != "" {
		return s
	}
	if s := forbidden(err); s != "" {
		return s
	}
	return strings.TrimSpace(err.Error())
}

// refusedFields unfolds what an API server refused field by field.
func refusedFields(err error) string {
	api := apierrors.APIStatus(nil)
	if !errors.As(err, &api) || !apierrors.IsInvalid(err) {
		return ""
	}
	status := api.Status()
	if status.Details == nil || len(status.Details.Causes) == 0 {
		return ""
	}
	subject := strings.ToLower(status.Details.Kind)
	if status.Details.Group != "" {
		subject += "." + status.Details.Group
	}
	var lines []string
	for _, cause := range status.Details.Causes {
		// This one only says that there may be more once the others are mended.
		if !strings.Contains(cause.Message, "some validation rules were not checked") {
			lines = append(lines, fieldLine(cause))
		}
	}
	return refused(subject+"/"+status.Details.Name, lines)
}

func refused(subject string, lines []string) string {
	return subject + " is refused:\n  " + strings.Join(lines, "\n  ")
}

func fieldLine(cause metav1.StatusCause) string {
	if cause.Field == "" || cause.Field == "<nil>" {
		// A rule about the whole object names the field in its message.
		return strings.TrimPrefix(cause.Message, "Invalid value: ")
	}
	if m := wrongType.FindStringSubmatch(cause.Message); m != nil {
		words := fmt.Sprintf("%s: is of type %s, and must be of type %s", cause.Field, m[2], m[1])
		if strings.HasPrefix(cause.Field, "spec.dependsOn[") {
			words += ": write {application: NAME}"
		}
		return words
	}
	return cause.Field + ": " + cause.Message
}

// wrongType is how the API server tells that a text stands where a map belongs.
var wrongType = regexp.MustCompile(`in body must be of type (\w+): "(\w+)"$`)

// lacking is what the API server says of a right that somebody has not.
var lacking = regexp.MustCompile(`User "([^"]+)" cannot (\S+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)"| at the cluster scope)`)

// forbidden says which right is missing, and who gives it.
func forbidden(err error) string {
	m := lacking.FindStringSubmatch(err.Error())
	if !apierrors.IsForbidden(err) || m == nil {
		return ""
	}
	user, verb, resource, kind, who := m[1], m[2], m[3], "ClusterRole", "the hub"
	if m[4] != "" {
		resource += "." + m[4]
	}
	if m[5] != "" {
		kind = "Role in namespace " + m[5]
	}
	if strings.HasPrefix(user, "atoll:") {
		who = "that cluster, not the hub,"
	}
	return fmt.Sprintf("%s\n%s lacks the right to %s %s: who administers %s can give it, by a %s with that rule and a binding of it to %s",
		strings.TrimSpace(err.Error()), user, verb, resource, who, kind, user)
}

// unreachable tells why there was no answer at all.
func unreachable(err error) string {
	call := (*url.Error)(nil)
	host := "the hub"
	if errors.As(err, &call) {
		if u, parseErr := url.Parse(call.URL); parseErr == nil {
			host = "the hub at " + u.Scheme + "://" + u.Host
		}
	}
	authority, name, lookup := x509.UnknownAuthorityError{}, x509.HostnameError{}, (*net.DNSError)(nil)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return host + " refuses connections; is it running? (start it with: atoll hub --data-dir DIR)"
	case errors.As(err, &authority):
		return host + " has a certificate that the kubeconfig does not trust; was the hub rebuilt? take its new admin kubeconfig"
	case errors.As(err, &name):
		return host + " has a certificate for another name: " + name.Error()
	case errors.As(err, &lookup):
		return host + " cannot be found: " + lookup.Error()
	case apierrors.IsUnauthorized(err):
		return "the hub does not know you: the kubeconfig's credentials are refused or expired"
	case call != nil && call.Timeout():
		return host + " does not answer"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	default:
		return ""
	}
}
