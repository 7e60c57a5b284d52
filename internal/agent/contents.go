package agent

import (
	"fmt"
	"maps"
	"sync"

	"atoll.dev/atoll/internal/apply"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/wire"
)

// contents are the encoded bundles and sealed values that the agent has. It
// has a lock of its own and calls nobody while holding it: the engine asks for
// values from inside its own lock.
type contents struct {
	cluster string
	key     seal.Key

	mu      sync.RWMutex
	bundles map[desired.Digest][]byte
	// fresh are decoded already, until the engine has taken them.
	fresh map[desired.Digest]content.Bundle
	// refs are the values that each bundle needs.
	refs     map[desired.Digest][]string
	sealed   map[string][]byte
	failures map[desired.Digest]error
}

func newContents(cluster string, key seal.Key) *contents {
	return &contents{
		cluster: cluster, key: key,
		bundles: map[desired.Digest][]byte{}, refs: map[desired.Digest][]string{}, fresh: map[desired.Digest]content.Bundle{},
		sealed: map[string][]byte{}, failures: map[desired.Digest]error{},
	}
}

// restore takes what was stored. A bundle that is not what its digest says is
// left out: the hub is asked for it again.
func (c *contents) restore(bundles map[desired.Digest][]byte, sealed map[string][]byte) {
	for d, data := range bundles {
		if desired.Sum(data) == d {
			_ = c.keep(d, data, nil) // undecodable is as good as missing
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.sealed, sealed)
}

// keep takes a content that has arrived.
func (c *contents) keep(d desired.Digest, data []byte, values []wire.SealedValue) error {
	bundle, err := content.Decode(data)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bundles[d], c.refs[d], c.fresh[d] = data, bundle.Refs(), bundle
	delete(c.failures, d)
	for _, v := range values {
		c.sealed[v.Ref] = v.Sealed
	}
	return nil
}

// fail notes why a content is not there.
func (c *contents) fail(d desired.Digest, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[d] = err
}

// missing are those of needed that are not here, or not with all their values.
func (c *contents) missing(needed []desired.Digest) []desired.Digest {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []desired.Digest
	for _, d := range needed {
		if !c.complete(d) {
			out = append(out, d)
		}
	}
	return out
}

func (c *contents) complete(d desired.Digest) bool {
	if _, ok := c.bundles[d]; !ok {
		return false
	}
	for _, ref := range c.refs[d] {
		if _, ok := c.sealed[ref]; !ok {
			return false
		}
	}
	return true
}

// retain drops everything but the needed contents and their values.
func (c *contents) retain(needed ...[]desired.Digest) {
	keep, refs := map[desired.Digest]bool{}, map[string]bool{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range needed {
		for _, d := range list {
			keep[d] = true
			for _, ref := range c.refs[d] {
				refs[ref] = true
			}
		}
	}
	maps.DeleteFunc(c.bundles, func(d desired.Digest, _ []byte) bool { return !keep[d] })
	maps.DeleteFunc(c.fresh, func(d desired.Digest, _ content.Bundle) bool { return !keep[d] })
	maps.DeleteFunc(c.refs, func(d desired.Digest, _ []string) bool { return !keep[d] })
	maps.DeleteFunc(c.failures, func(d desired.Digest, _ error) bool { return !keep[d] })
	maps.DeleteFunc(c.sealed, func(ref string, _ []byte) bool { return !refs[ref] })
}

// copies are the maps as they are now; their values are never altered.
func (c *contents) copies() (bundles map[desired.Digest][]byte, sealed map[string][]byte) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return maps.Clone(c.bundles), maps.Clone(c.sealed)
}

// bundle finds a content for the engine.
func (c *contents) bundle(d desired.Digest) (content.Bundle, error) {
	c.mu.Lock()
	data, ok := c.bundles[d]
	fresh, decoded := c.fresh[d]
	delete(c.fresh, d)
	err := c.failures[d]
	c.mu.Unlock()
	switch {
	case decoded:
		return fresh, nil
	case ok:
		return content.Decode(data)
	case err != nil:
		return content.Bundle{}, err
	default:
		return content.Bundle{}, fmt.Errorf("content %s: %w", d.Short(), apply.ErrPending)
	}
}

// value opens a sealed value for the engine.
func (c *contents) value(ref string) ([]byte, error) {
	c.mu.RLock()
	sealed, ok := c.sealed[ref]
	c.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("the secret value %s has not arrived yet", ref)
	}
	return c.key.Open(seal.Info{Cluster: c.cluster, Ref: ref}, sealed)
}
