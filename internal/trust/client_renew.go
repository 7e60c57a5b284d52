package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// minRenewal keeps an agent whose clock is far ahead from renewing for ever.
	minRenewal = time.Hour
	// refusedWait is how often an agent asks whether its refusal still stands:
	// a hub restored from a backup may know it again.
	refusedWait = 10 * time.Minute
)

// Renew asks for the next certificate of the same key, once. It works however
// long the last one has expired.
func (c *Client) Renew(ctx context.Context) error {
	c.renewing.Lock()
	defer c.renewing.Unlock()
	id := c.Identity()
	return c.renew(ctx, id, id.Key)
}

// RenewExpired renews a certificate that no hub takes any more, and does nothing
// while it is good. RenewLoop waits by timers: after failures for minutes, and in
// a machine that is suspended they stand still.
func (c *Client) RenewExpired(ctx context.Context) error {
	cert, err := c.GetClientCertificate(nil)
	if err != nil || c.cfg.Clock.Now().Before(cert.Leaf.NotAfter) {
		return nil // without one, joining is what helps
	}
	return c.Renew(ctx)
}

// RotateKey replaces the key, once. Until the new key is first used, the hub
// takes both, so a crash at any point leaves the agent with a good one.
func (c *Client) RotateKey(ctx context.Context) error {
	c.renewing.Lock()
	defer c.renewing.Unlock()
	next, err := newKey()
	if err != nil {
		return err
	}
	return c.renew(ctx, c.Identity(), next)
}

func (c *Client) renew(ctx context.Context, id Identity, next *ecdsa.PrivateKey) error {
	req, err := c.renewRequest(ctx, id, next)
	if err != nil {
		return fmt.Errorf("renew certificate of cluster %s: %w", id.Cluster, err)
	}
	var resp RenewResponse
	if err := c.post(ctx, PathRenew, req, &resp); err != nil {
		return fmt.Errorf("renew certificate of cluster %s: %w", id.Cluster, err)
	}
	if next != id.Key {
		id.Key, id.KeyMade = next, c.cfg.Clock.Now()
	}
	if err := c.take(ctx, id, resp.Certificate, resp.Roots); err != nil {
		return fmt.Errorf("renew certificate of cluster %s: %w", id.Cluster, err)
	}
	return nil
}

func (c *Client) renewRequest(ctx context.Context, id Identity, next *ecdsa.PrivateKey) (*RenewRequest, error) {
	nonce, err := c.nonce(ctx, id.Cluster)
	if err != nil {
		return nil, err
	}
	req := &RenewRequest{
		Cluster: id.Cluster, Nonce: nonce,
		SealingKey: id.SealingPublic, ClusterUID: id.ClusterUID, AgentVersion: c.cfg.AgentVersion,
	}
	if req.PublicKey, err = x509.MarshalPKIXPublicKey(&id.Key.PublicKey); err != nil {
		return nil, err
	}
	if req.CSR, err = id.csr(next); err != nil {
		return nil, err
	}
	if req.Signature, err = req.proof().sign(id.Key); err != nil {
		return nil, err
	}
	if next != id.Key {
		req.NewSignature, err = req.proof().sign(next)
	}
	return req, err
}

// RenewLoop renews at two thirds of a certificate's life, rotates the key when
// it is old, and returns when ctx is done.
func (c *Client) RenewLoop(ctx context.Context) error {
	delay := c.untilDue()
	wait := minWait
	for {
		if err := c.sleep(ctx, delay); err != nil {
			return err
		}
		err := c.renewOrRotate(ctx)
		if err == nil {
			wait = minWait
			delay = max(minRenewal, c.untilDue())
			continue
		}
		refused, _ := errors.AsType[*Refused](err)
		if wait = nextWait(wait, refused); refused != nil && refused.RetryAfter == 0 {
			wait = refusedWait
		}
		delay = wait
		c.cfg.Log.Warn("cannot renew", "cluster", c.cfg.Cluster, "error", err, "retryIn", delay)
	}
}

func (c *Client) renewOrRotate(ctx context.Context) error {
	if c.cfg.Clock.Since(c.Identity().KeyMade) > c.cfg.KeyLife {
		return c.RotateKey(ctx)
	}
	return c.Renew(ctx)
}

// untilDue is the time to two thirds of the certificate's life, give or take a
// twentieth of it, so that agents that joined together do not renew together. It
// is never longer than that from now: by a clock that is behind, the end of the
// certificate is further away than it is.
func (c *Client) untilDue() time.Duration {
	cert, err := c.GetClientCertificate(nil)
	if err != nil {
		return 0
	}
	early := AgentLife/3 + AgentLife/20 - rand.N(AgentLife/10)
	return min(max(0, cert.Leaf.NotAfter.Sub(c.cfg.Clock.Now())-early), AgentLife-early)
}
