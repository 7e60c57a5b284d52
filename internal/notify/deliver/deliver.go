package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/notify"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

const (
	// timeout is for one attempt.
	timeout = 20 * time.Second
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 64 << 10
	// maxAfter is for how long a receiver may put the next attempt off.
	maxAfter = time.Hour
)

// Failure is why an attempt failed.
type Failure struct {
	// Final says that the receiver will never take the event. Away says that it
	// takes none at present.
	Final, Away bool
	// After is how long the receiver asks to be left alone; 0 if it does not.
	After time.Duration
	Err   error
}

// Error is the cause.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap is the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Sender tells one receiver.
type Sender struct {
	hub         string
	to          v1alpha1.Notification
	client      *http.Client
	credentials *web.Credentials
	hmacKey     []byte
}

// New prepares to tell the receiver of a Notification in the name of a hub;
// secret is nil without one. No value of it is ever part of an error.
func New(hub string, n v1alpha1.Notification, secret *source.Secret, dial web.Dialer) (*Sender, error) {
	s := &Sender{hub: hub, to: n}
	if secret != nil {
		if err := s.read(*secret); err != nil {
			return nil, err
		}
	}
	s.client = web.NewClient(dial, s.credentials, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse })
	return s, nil
}

// minKey is the least length of a key that proves anything, in bytes.
const minKey = 16

func (s *Sender) read(secret source.Secret) error {
	data := map[string][]byte{}
	for k, v := range secret.Data {
		data[k] = v
	}
	if s.to.Webhook != nil {
		s.hmacKey = data["hmacKey"]
		if n := len(s.hmacKey); n > 0 && n < minKey {
			return fmt.Errorf("hmacKey in Secret %s has %d bytes; give at least %d", secret.Name, n, minKey)
		}
		if s.hmacKey != nil && data["bearerToken"] == nil && data["password"] == nil && data["ca.crt"] == nil && data["caFile"] == nil {
			return nil
		}
	}
	var err error
	if s.credentials, err = web.ReadCredentials(s.host(), secret.Name, data); err != nil {
		return err
	}
	if s.to.CommitStatus != nil && !s.credentials.Held() {
		return fmt.Errorf("the Secret %s has no token; give it as bearerToken", secret.Name)
	}
	return nil
}

// host is what failures name: the rest of an address may be a secret.
func (s *Sender) host() string {
	address := ""
	switch {
	case s.to.Webhook != nil:
		address = s.to.Webhook.URL
	case s.to.CommitStatus != nil:
		address = notify.API(s.to.CommitStatus)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "the receiver"
	}
	return u.Host
}

// String is the receiver's host.
func (s *Sender) String() string { return s.host() }

// Close ends idle connections.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Send makes one attempt. An error is a *Failure.
func (s *Sender) Send(ctx context.Context, e notify.Event) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := s.request(ctx, e)
	if err != nil {
		return &Failure{Final: true, Err: err}
	}
	request.Header.Set("User-Agent", "atoll")
	response, err := s.client.Do(request)
	if err != nil {
		return &Failure{Away: true, Err: web.Unreached(s, err)}
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // to keep the connection; little depends on it
	return s.judge(response, body)
}

func (s *Sender) request(ctx context.Context, e notify.Event) (*http.Request, error) {
	if s.to.Webhook != nil {
		return s.webhook(ctx, e)
	}
	return s.status(ctx, *e.Report)
}

// judge reads an answer as the specification of CloudEvents' webhooks means it,
// which Git hosts' answers fit
// (github.com/cloudevents/spec, cloudevents/http-webhook.md, 2.2).
func (s *Sender) judge(r *http.Response, body []byte) error {
	code := r.StatusCode
	if code >= 200 && code < 300 || s.to.CommitStatus != nil && already(s.to.CommitStatus.Provider, code, body) {
		return nil
	}
	f := &Failure{After: after(r.Header.Get("Retry-After")), Err: fmt.Errorf("%s answers %d %s", s, code, http.StatusText(code))}
	limited := f.After > 0 || r.Header.Get("X-RateLimit-Remaining") == "0"
	switch {
	case code >= 300 && code < 400:
		f.Away, f.Err = true, fmt.Errorf("%s redirects (%d), which is not followed; give the address that it leads to", s, code)
	case code == http.StatusUnauthorized, code == http.StatusForbidden && (limited || s.to.Webhook != nil), code == http.StatusNotFound && s.to.Webhook != nil,
		code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		f.Away = true
	case code == http.StatusForbidden, code == http.StatusNotFound:
		f.Err = fmt.Errorf("%w: the repository is not there for this token, or it may not write statuses", f.Err)
	default:
		f.Final = true
	}
	return f
}

// after reads Retry-After in seconds, the form that hosts use.
func after(text string) time.Duration {
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 1<<20))*time.Second, maxAfter)
}

// post is a request with a body of JSON.
func post(ctx context.Context, address, contentType string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address is no URL")
	}
	r.Header.Set("Content-Type", contentType)
	return r, nil
}
