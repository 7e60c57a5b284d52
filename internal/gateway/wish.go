package gateway

import "atoll.dev/atoll/internal/wire"

// Wish has the cluster's agent told which image it should run, now and whenever
// it links; nil is no wish.
func (g *Gateway) Wish(cluster string, wish *wire.Upgrade) {
	g.mu.Lock()
	before, had := g.wishes[cluster]
	if wish == nil {
		delete(g.wishes, cluster)
	} else {
		g.wishes[cluster] = *wish
	}
	c := g.links[cluster]
	g.mu.Unlock()
	if c != nil && wish != nil && (!had || before != *wish) {
		signal(c.wished)
	}
}

func (g *Gateway) wish(cluster string) *wire.Upgrade {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w, ok := g.wishes[cluster]; ok {
		return &w
	}
	return nil
}
