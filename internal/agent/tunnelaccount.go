package agent

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
)

// tunnelConfig reaches the member as the account that may impersonate people,
// and nothing else, with short-lived tokens: the account that applies cannot
// impersonate people, and this one cannot apply.
func (a *agent) tunnelConfig() *rest.Config {
	cfg := rest.AnonymousClientConfig(a.Config)
	cfg.QPS = -1
	tokens := &tokenSource{member: a.member}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			token, err := tokens.get(r.Context())
			if err != nil {
				return nil, err
			}
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+token)
			return next.RoundTrip(r)
		})
	})
	return cfg
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// tokenLife is asked for; the member may give less.
const tokenLife = time.Hour

type tokenSource struct {
	member kubernetes.Interface

	mu    sync.Mutex
	token string
	until time.Time
}

func (s *tokenSource) get(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := time.Now()
	if asked.Before(s.until) {
		return s.token, nil
	}
	seconds := int64(tokenLife / time.Second)
	answer, err := s.member.CoreV1().ServiceAccounts(v1alpha1.SystemNamespace).CreateToken(ctx, join.TunnelAccount,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("act as service account %s/%s in the member: %w", v1alpha1.SystemNamespace, join.TunnelAccount, err)
	}
	s.token = answer.Status.Token
	// The answer says for how long; until when is by the member's clock.
	if granted := answer.Spec.ExpirationSeconds; granted != nil {
		seconds = *granted
	}
	s.until = asked.Add(time.Duration(seconds) * time.Second * 2 / 3)
	return s.token, nil
}
