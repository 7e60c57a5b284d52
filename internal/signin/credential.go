package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
)

// Credential gives a session's token as client-go asks for it (ExecCredential of
// client.authentication.k8s.io/v1), renewed when it nears its end. While the
// provider is away the token goes on to its end.
func (d Sessions) Credential(ctx context.Context, id string, now func() time.Time) ([]byte, error) {
	s, err := d.current(ctx, id, now)
	if err != nil {
		return nil, err
	}
	until := metav1.NewTime(s.GoodUntil)
	credential := clientauthenticationv1.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: clientauthenticationv1.SchemeGroupVersion.String(), Kind: "ExecCredential"},
		Status:   &clientauthenticationv1.ExecCredentialStatus{Token: s.IDToken, ExpirationTimestamp: &until},
	}
	data, err := json.Marshal(credential)
	if err != nil {
		return nil, fmt.Errorf("encode the credential: %w", err)
	}
	return append(data, '\n'), nil
}

// turnLimit is how long a program whose token is good waits for another that renews it.
const turnLimit = 2 * time.Second

// current is a session whose token is good, renewed by one program at a time: a
// provider that gives each refresh token once would end the session otherwise.
func (d Sessions) current(ctx context.Context, id string, now func() time.Time) (*Session, error) {
	s, err := d.Load(id)
	if err != nil {
		return nil, again(s, err)
	} else if s.fresh(now()) {
		return s, nil
	}
	wait, cancel := ctx, context.CancelFunc(func() {})
	if s.good(now()) {
		wait, cancel = context.WithTimeout(ctx, turnLimit)
	}
	defer cancel()
	done, err := d.hold(wait, id)
	if err != nil && ctx.Err() == nil && s.good(now()) {
		return s, nil // one who asks a provider that hangs does not hold up all others
	}
	if err != nil {
		return nil, err
	}
	defer done()
	s, err = d.Load(id)
	if err != nil {
		return nil, again(s, err)
	}
	if s.fresh(now()) {
		return s, nil // another program renewed it meanwhile
	}
	ended, err := s.renew(ctx, now)
	switch {
	case err == nil:
		// Kept before it is used: the old refresh token may count no more.
		return s, d.Save(id, s)
	case s.good(now()):
		return s, nil
	case ended:
		return nil, again(s, fmt.Errorf("the session at %s has ended: %w", s.Issuer, err))
	}
	return nil, fmt.Errorf("the session ended at %s and cannot be renewed: %w; try again when %s answers",
		s.GoodUntil.UTC().Format(time.RFC3339), err, s.Issuer)
}

func again(s *Session, err error) error {
	if s != nil {
		return fmt.Errorf("%w; sign in again: atoll login %s", err, s.Server)
	}
	if errors.Is(err, ErrNoSession) {
		return fmt.Errorf("%w; sign in again: atoll login URL", err)
	}
	return err
}
