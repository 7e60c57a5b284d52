package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Credentials of one registry, for where a file of docker's is more than wanted.
const (
	UserVariable     = "ATOLL_CONTENT_USERNAME"
	PasswordVariable = "ATOLL_CONTENT_PASSWORD"
)

// defaultPatience is how long a request may stay unanswered.
const defaultPatience = 20 * time.Second

// transferTime bounds one call with all its requests and their repetitions.
const transferTime = 2 * time.Minute

func newClient(l Location, patience time.Duration) (*auth.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = patience
	transport.MaxIdleConnsPerHost = 8
	credential, err := credential(l)
	if err != nil {
		return nil, err
	}
	c := &auth.Client{
		Client:     &http.Client{Transport: &retry.Transport{Base: transport, Policy: func() retry.Policy { return again }}},
		Cache:      auth.NewCache(),
		Credential: credential,
	}
	c.SetUserAgent("atoll-hub")
	return c, nil
}

// again bridges the restart of a registry or a proxy, not an outage: callers
// try again on their own.
var again retry.Policy = &retry.GenericPolicy{
	Retryable: func(resp *http.Response, err error) (bool, error) {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return true, nil
		}
		return retry.DefaultPredicate(resp, err)
	},
	Backoff:  retry.DefaultBackoff,
	MinWait:  200 * time.Millisecond,
	MaxWait:  2 * time.Second,
	MaxRetry: 3,
}

// credential is that of the environment, or else what container tools keep for
// the user. The file is read again each time, since mounted Secrets change.
func credential(l Location) (auth.CredentialFunc, error) {
	user, password := os.Getenv(UserVariable), os.Getenv(PasswordVariable)
	if (user == "") != (password == "") {
		return nil, fmt.Errorf("%s and %s belong together, and one is missing", UserVariable, PasswordVariable)
	}
	if user != "" {
		return auth.StaticCredential(l.Host, auth.Credential{Username: user, Password: password}), nil
	}
	if _, err := os.UserHomeDir(); err != nil && os.Getenv("DOCKER_CONFIG") == "" {
		return nil, nil // a container without a home: nobody keeps anything there
	}
	return func(ctx context.Context, host string) (auth.Credential, error) {
		kept, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
		if err != nil {
			return auth.EmptyCredential, fmt.Errorf("read the credentials of %s: %w", host, err)
		}
		return credentials.Credential(kept)(ctx, host)
	}, nil
}

func newRepository(l Location, client remote.Client, below string) (*remote.Repository, error) {
	path := l.Host + "/" + l.Path
	if below != "" {
		path += "/" + below
	}
	repo, err := remote.NewRepository(path)
	if err != nil {
		return nil, fmt.Errorf("open the content registry: %w", err)
	}
	repo.Client, repo.PlainHTTP = client, l.PlainHTTP
	repo.MaxMetadataBytes = maxManifest
	return repo, nil
}

// advise adds what helps to an answer that says nothing of it.
func advise(err error) error {
	if errors.Is(err, auth.ErrBasicCredentialNotFound) || answered(err, http.StatusUnauthorized, http.StatusForbidden) {
		return fmt.Errorf("%w; give the hub credentials that may pull and push there: the folder of a config.json in DOCKER_CONFIG, or %s and %s", err, UserVariable, PasswordVariable)
	}
	return err
}

// answered tells whether a registry answered with one of these.
func answered(err error, status ...int) bool {
	var response *errcode.ErrorResponse
	if !errors.As(err, &response) {
		return false
	}
	for _, s := range status {
		if response.StatusCode == s {
			return true
		}
	}
	return false
}
