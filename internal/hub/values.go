package hub

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/seal"
)

// values is the client that stores secret values.
func (s *start) values() (client.Client, error) {
	if s.host == nil {
		return s.live, nil
	}
	secrets, err := apiserver.SecretsKeys(s.Keys)
	if err != nil {
		return nil, err
	}
	keys, err := seal.NewAtRest(secrets...)
	if err != nil {
		return nil, fmt.Errorf("use the keys of Secrets in %s: %w", s.Keys, err)
	}
	return sealedSecrets{s.live, keys}, nil
}

// sealedSecrets is a client for a store that is not ours: Secrets are encrypted
// before they leave the hub, with a key that the store never sees. The embedded
// API server does the same beneath its own API.
type sealedSecrets struct {
	client.Client
	keys seal.AtRest
}

// Create leaves the caller's object as it is.
func (c sealedSecrets) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	s, ok := o.(*corev1.Secret)
	if !ok {
		return c.Client.Create(ctx, o, opts...)
	}
	sealed := s.DeepCopy()
	for key, value := range sealed.Data {
		sealed.Data[key] = c.keys.Seal(place(s, key), value)
	}
	return c.Client.Create(ctx, sealed, opts...)
}

// Get fails on a Secret that this hub did not encrypt.
func (c sealedSecrets) Get(ctx context.Context, name client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	if err := c.Client.Get(ctx, name, into, opts...); err != nil {
		return err
	}
	s, ok := into.(*corev1.Secret)
	if !ok {
		return nil
	}
	for key, data := range s.Data {
		value, err := c.keys.Open(place(s, key), data)
		if err != nil {
			return fmt.Errorf("read Secret %s: %w", name, err)
		}
		s.Data[key] = value
	}
	return nil
}

func place(s *corev1.Secret, key string) string { return s.Namespace + "/" + s.Name + "/" + key }
