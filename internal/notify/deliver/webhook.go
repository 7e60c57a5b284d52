package deliver

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"atoll.dev/atoll/internal/notify"
)

// SignatureHeader has the hex HMAC-SHA256 of the body, after "sha256=": the form
// that GitHub gave it, in which the hub's own hooks are signed too.
const SignatureHeader = "X-Hub-Signature-256"

// webhook is the HTTP binding of CloudEvents 1.0 in structured content mode
// (github.com/cloudevents/spec, cloudevents/bindings/http-protocol-binding.md, 3.2).
func (s *Sender) webhook(ctx context.Context, e notify.Event) (*http.Request, error) {
	body, err := e.Encode(s.hub)
	if err != nil {
		return nil, err
	}
	r, err := post(ctx, s.to.Webhook.URL, "application/cloudevents+json; charset=UTF-8", body)
	if err != nil {
		return nil, err
	}
	s.credentials.Authorize(r)
	if len(s.hmacKey) > 0 {
		signed := hmac.New(sha256.New, s.hmacKey)
		signed.Write(body)
		r.Header.Set(SignatureHeader, "sha256="+hex.EncodeToString(signed.Sum(nil)))
	}
	return r, nil
}
