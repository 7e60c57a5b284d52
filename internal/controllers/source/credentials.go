package source

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// credentials shares what was read of a Secret, for a moment: a thousand
// applications that name one would each ask the API for it at every look. It
// remembers nothing for longer than that, and no error.
type credentials struct {
	mu   sync.Mutex
	read map[types.NamespacedName]credential
}

type credential struct {
	secret *corev1.Secret
	at     time.Time
}

// get answers with what was read at since or later, and within the last moment.
// Nobody may change the answer.
func (c *credentials) get(ctx context.Context, from client.Reader, name types.NamespacedName, since, now time.Time) (*corev1.Secret, error) {
	if oldest := now.Add(-shared); since.Before(oldest) {
		since = oldest
	}
	c.mu.Lock()
	known, ok := c.read[name]
	c.mu.Unlock()
	if ok && !known.at.Before(since) {
		return known.secret, nil
	}
	secret := &corev1.Secret{}
	if err := from.Get(ctx, name, secret); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read == nil {
		c.read = map[types.NamespacedName]credential{}
	}
	for other, was := range c.read {
		if now.Sub(was.at) > shared {
			delete(c.read, other)
		}
	}
	c.read[name] = credential{secret, now}
	return secret, nil
}
