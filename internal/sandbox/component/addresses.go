package component

import (
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/types"
)

// balancerAddresses deals out one address a Service, in rising order, so that
// one is not given out again soon after its Service has gone.
type balancerAddresses struct {
	prefix netip.Prefix
	last   netip.Addr
	owners map[netip.Addr]types.NamespacedName
	given  map[types.NamespacedName]netip.Addr
}

func newBalancerAddresses(cidr string) (*balancerAddresses, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return nil, fmt.Errorf("load balancer range: %w", err)
	}
	return &balancerAddresses{
		prefix: prefix, last: prefix.Addr(),
		owners: map[netip.Addr]types.NamespacedName{}, given: map[types.NamespacedName]netip.Addr{},
	}, nil
}

// adopt lets a Service keep the address that it has from a former run. It
// does nothing when the address is another's, or none of ours.
func (a *balancerAddresses) adopt(service types.NamespacedName, has string) {
	ip, err := netip.ParseAddr(has)
	if _, taken := a.owners[ip]; err != nil || taken || !a.prefix.Contains(ip) {
		return
	}
	if _, given := a.given[service]; given {
		return
	}
	a.owners[ip], a.given[service] = service, ip
	if a.last.Less(ip) {
		a.last = ip
	}
}

// of is the Service's address, the same with every call until it is freed.
func (a *balancerAddresses) of(service types.NamespacedName) (netip.Addr, error) {
	if ip, ok := a.given[service]; ok {
		return ip, nil
	}
	ip := a.last
	for range 1 << (32 - a.prefix.Bits()) {
		if ip = ip.Next(); !a.prefix.Contains(ip) {
			ip = a.prefix.Addr().Next() // the first is the network's own
		}
		if _, taken := a.owners[ip]; !taken {
			a.owners[ip], a.given[service], a.last = service, ip, ip
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("the load balancer range %s is exhausted", a.prefix)
}

func (a *balancerAddresses) free(service types.NamespacedName) {
	delete(a.owners, a.given[service])
	delete(a.given, service)
}
