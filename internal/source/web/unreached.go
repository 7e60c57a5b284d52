package web

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"

	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/source"
)

// Unreached says why a server could not be spoken to, over HTTPS or otherwise.
func Unreached(of fmt.Stringer, err error) error {
	var failure *source.Failure
	if errors.As(err, &failure) {
		return source.Fail(failure.Reason, "%s: %w", of, failure.Err)
	}
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err // without the URL, which is said already
	}
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &authority):
		return source.Fail(source.Unreachable, "%s shows a certificate of an authority that is not known (%w); put the authority's into ca.crt of the Secret", of, err)
	case errors.Is(err, egress.ErrRefused):
		return source.Fail(source.AddressRefused, "%s: %w", of, err)
	case errors.Is(err, context.DeadlineExceeded):
		return source.Fail(source.Unreachable, "%s takes too long to answer", of)
	}
	return source.Fail(source.Unreachable, "%s cannot be reached: %w", of, Steady(err))
}

// Steady says the same of every attempt: the port of this end is another each
// time, and what changes is written and told anew.
func Steady(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Source != nil {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}
