package agent

import (
	"errors"
	"fmt"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/wire"
)

// maxContent is the largest content an agent takes, in bytes, and the most of
// secret values that it may come with: the hub refuses to store larger ones.
const maxContent = 80 << 20

// assembly puts the pieces of contents together.
type assembly struct {
	limit   int64
	pending map[desired.Digest]*assembled
}

type assembled struct {
	digest desired.Digest
	data   []byte
	values []wire.SealedValue
	sealed int64 // bytes of values
}

// begin returns those of the digests that are not under way, and notes them.
func (p *assembly) begin(missing []desired.Digest) []desired.Digest {
	if p.pending == nil {
		p.pending = map[desired.Digest]*assembled{}
	}
	var ask []desired.Digest
	for _, d := range missing {
		if p.pending[d] == nil {
			p.pending[d] = &assembled{digest: d}
			ask = append(ask, d)
		}
	}
	return ask
}

// errUnasked is content that the agent does not wait for, such as the rest of
// one that failed already.
var errUnasked = errors.New("the hub sends what was not asked for")

// add takes one piece and returns the content when it is whole and true.
func (p *assembly) add(c *wire.Content) (*assembled, error) {
	a := p.pending[c.Digest]
	switch {
	case a == nil:
		return nil, errUnasked
	case c.Missing != "":
		delete(p.pending, c.Digest)
		return nil, fmt.Errorf("the hub cannot deliver it: %s", c.Missing)
	case !p.fits(a, c):
		delete(p.pending, c.Digest)
		return nil, errors.New("its pieces do not fit")
	}
	a.data = append(a.data, c.Data...)
	a.values = append(a.values, c.Values...)
	if int64(len(a.data)) < c.Size {
		return nil, nil
	}
	delete(p.pending, c.Digest)
	if got := desired.Sum(a.data); got != c.Digest {
		return nil, fmt.Errorf("its digest is %s", got.Short())
	}
	return a, nil
}

// fits holds a piece against what came before and the limits. A piece carries
// data, values or both; one with neither would never end.
func (p *assembly) fits(a *assembled, c *wire.Content) bool {
	for _, v := range c.Values {
		a.sealed += int64(len(v.Ref) + len(v.Sealed))
	}
	switch {
	case len(c.Data) == 0 && len(c.Values) == 0,
		c.Size <= 0 || c.Size > p.limit || a.sealed > p.limit:
		return false
	}
	return c.Offset == int64(len(a.data)) && int64(len(c.Data)) <= c.Size-c.Offset
}
