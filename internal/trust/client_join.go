package trust

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Waits between attempts.
const (
	minWait = time.Second
	maxWait = 5 * time.Minute
)

// Join enrols the agent's key with a token and waits until the hub accepts
// the cluster. It returns at once when there is a certificate already. It
// repeats what may pass and returns the *Refused of what will not.
func (c *Client) Join(ctx context.Context, token string) error {
	wait, told := minWait, false
	for c.Identity().Certificate == "" {
		after, err := c.joinOnce(ctx, token)
		refused, isRefused := errors.AsType[*Refused](err)
		switch {
		case err == nil && after == 0:
			return nil
		case err == nil:
			if wait = after; !told {
				c.cfg.Log.Info("enrolled; the hub's owner has to accept this cluster", "cluster", c.cfg.Cluster, "command", "atoll accept "+c.cfg.Cluster)
				told = true
			}
		case isRefused && refused.RetryAfter == 0, errors.Is(err, ErrUntrustedRoots):
			return fmt.Errorf("join as cluster %s: %w", c.cfg.Cluster, err)
		default:
			wait = nextWait(wait, refused)
			c.cfg.Log.Warn("cannot join yet", "cluster", c.cfg.Cluster, "error", err, "retryIn", wait)
		}
		if err := c.sleep(ctx, wait); err != nil {
			return fmt.Errorf("join as cluster %s: %w", c.cfg.Cluster, err)
		}
	}
	return nil
}

// joinOnce returns after how long to ask again, 0 when the certificate is here.
func (c *Client) joinOnce(ctx context.Context, token string) (time.Duration, error) {
	c.renewing.Lock()
	defer c.renewing.Unlock()
	id := c.Identity()
	nonce, err := c.nonce(ctx, id.Cluster)
	if err != nil {
		return 0, err
	}
	req := JoinRequest{
		Cluster: id.Cluster, Nonce: nonce, Token: token,
		SealingKey: id.SealingPublic, ClusterUID: id.ClusterUID, AgentVersion: c.cfg.AgentVersion,
	}
	if req.CSR, err = id.csr(id.Key); err != nil {
		return 0, err
	}
	if req.Signature, err = req.proof().sign(id.Key); err != nil {
		return 0, err
	}
	var resp JoinResponse
	if err := c.post(ctx, PathJoin, req, &resp); err != nil {
		return 0, err
	}
	if resp.State != StateIssued {
		return max(minWait, time.Duration(resp.RetryAfterSeconds)*time.Second), nil
	}
	return 0, c.take(ctx, id, resp.Certificate, resp.Roots)
}

// nextWait doubles, within bounds, unless the hub said when; a quarter is
// random, so that a fleet does not come back all at once.
func nextWait(wait time.Duration, refused *Refused) time.Duration {
	next := min(2*wait, maxWait)
	if refused != nil && refused.RetryAfter > 0 {
		next = refused.RetryAfter
	}
	return next + rand.N(next/4+1)
}

func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	timer := c.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
