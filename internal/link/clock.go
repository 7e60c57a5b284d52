package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// clockWords tells a clock that is wrong from a hub that is not the one: "" unless
// the hub's certificate is good in all but the time. What it says of the clock
// is the least that it is wrong by, since the hub's own time is not known yet.
func clockWords(err error, cfg *tls.Config) string {
	failed, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		return ""
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](failed.Err)
	if !ok || invalid.Reason != x509.Expired {
		return ""
	}
	from, until, ok := validity(failed.UnverifiedCertificates, cfg)
	if !ok {
		return ""
	}
	now := time.Now()
	if cfg.Time != nil {
		now = cfg.Time()
	}
	wrong, by := "behind", from.Sub(now)
	if by < 0 {
		wrong, by = "ahead", now.Sub(until)
	}
	return fmt.Sprintf("this machine's clock is wrong: it says %s and is at least %s %s, for the hub's certificate, good otherwise, counts from %s until %s; set the clock right (or the hub's, if that is the wrong one)",
		stamp(now), max(by.Round(time.Minute), time.Minute), wrong, stamp(from), stamp(until))
}

// validity is when all of a chain to the roots counts that is good in all else.
func validity(certs []*x509.Certificate, cfg *tls.Config) (from, until time.Time, ok bool) {
	leaf := certs[0] // there is one, or something else had failed
	o := x509.VerifyOptions{
		Roots: cfg.RootCAs, Intermediates: x509.NewCertPool(), DNSName: cfg.ServerName,
		CurrentTime: leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2),
	}
	for _, c := range certs[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := leaf.Verify(o)
	if err != nil {
		return from, until, false
	}
	from, until = leaf.NotBefore, leaf.NotAfter
	for _, c := range chains[0] {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return from, until, true
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
