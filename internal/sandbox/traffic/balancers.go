package traffic

import (
	"fmt"
	"net/netip"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Endpoint is one pod's port, as an EndpointSlice has it.
type Endpoint struct {
	IP   string
	Port int32
}

// Frontend is one port of a load balancer.
type Frontend struct {
	At        netip.AddrPort
	Endpoints []Endpoint // those that are ready, in any order
	// Sticky sends the connections of one client address to one endpoint, as
	// long as that is there.
	Sticky bool
}

// Balancers are the load balancers of one cluster.
type Balancers struct {
	pods *Pods

	mu      sync.Mutex
	proxies map[types.NamespacedName]map[netip.AddrPort]*proxy
}

// NewBalancers balances between the pods that are listened for.
func NewBalancers(pods *Pods) *Balancers {
	return &Balancers{pods: pods, proxies: map[types.NamespacedName]map[netip.AddrPort]*proxy{}}
}

// Set makes the load balancer of a Service be as given; none ends it. A
// frontend without endpoints is closed, so that connections are refused.
func (b *Balancers) Set(service types.NamespacedName, frontends []Frontend) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	have, want := b.proxies[service], map[netip.AddrPort]*proxy{}
	// First, so that an address can pass from one Service to another.
	keep := map[netip.AddrPort]bool{}
	for _, f := range frontends {
		keep[f.At] = len(f.Endpoints) > 0
	}
	for at, p := range have {
		if !keep[at] {
			p.listener.Close()
		}
	}
	var failed error
	for _, f := range frontends {
		if !keep[f.At] {
			continue
		}
		p := have[f.At]
		if p == nil {
			var err error
			if p, err = newProxy(f.At, b.pods); err != nil {
				failed = fmt.Errorf("balance service %s: %w", service, err)
				continue
			}
		}
		p.set(f)
		want[f.At] = p
	}
	b.proxies[service] = want
	if len(frontends) == 0 {
		delete(b.proxies, service)
	}
	return failed
}
