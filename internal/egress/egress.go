// Package egress is how the hub dials addresses that a project named: a project
// is a tenant, and the hub's network is not its own. It decides which addresses
// a name may lead to, at the moment of dialling, so that a name which leads
// elsewhere the second time gains nothing. What is spoken is left to others.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// ErrRefused says that an address is none that a project may have dialled.
var ErrRefused = errors.New("this hub dials no such address for a project")

// Guard dials. The zero value dials nothing of this machine and its network's own.
type Guard struct {
	// Allow are addresses that are dialled all the same.
	Allow []netip.Prefix
}

// dialTimeout is for one address.
const dialTimeout = 10 * time.Second

// DialContext is for http.Transport and whoever else dials for a project.
func (g Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrRefused, address)
		}
		return g.Check(to.Addr())
	}}
	return d.DialContext(ctx, network, address)
}

// services are addresses at which clouds answer every machine with its
// credentials, beyond what the general rules cover.
var services = []netip.Prefix{
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
	netip.MustParsePrefix("fd00:ec2::/32"),      // Amazon
	netip.MustParsePrefix("fd20:ce::/32"),       // Google Cloud
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("240.0.0.0/4"),
}

// mapped are networks whose addresses stand for IPv4 ones, which begin at a byte.
var mapped = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
}

// Check says why an address may not be dialled.
func (g Guard) Check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if slices.ContainsFunc(g.Allow, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	for _, m := range mapped {
		if m.prefix.Contains(addr) {
			bytes := addr.As16()
			return g.Check(netip.AddrFrom4([4]byte(bytes[m.at : m.at+4])))
		}
	}
	switch {
	case addr.IsLoopback(), addr.IsUnspecified():
		return refuse(addr, "is the hub's own machine")
	case addr.IsLinkLocalUnicast(), slices.ContainsFunc(services, func(p netip.Prefix) bool { return p.Contains(addr) }):
		return refuse(addr, "belongs to the network of the hub's machine, where clouds hand out its credentials")
	case addr.IsMulticast():
		return refuse(addr, "is no single machine")
	case own(addr):
		return refuse(addr, "is the hub's own machine")
	}
	return nil
}

func refuse(addr netip.Addr, why string) error {
	return fmt.Errorf("%w: %s %s; who runs the hub may allow it with --source-allow", ErrRefused, addr, why)
}

// own asks each time: addresses come and go.
func own(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return true // not knowing is no leave
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == addr
	})
}

// ParseAllow reads addresses and networks, such as 10.1.2.3 and 127.0.0.0/8.
func ParseAllow(words []string) ([]netip.Prefix, error) {
	var allow []netip.Prefix
	for _, word := range words {
		if addr, err := netip.ParseAddr(word); err == nil {
			allow = append(allow, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network, such as 127.0.0.0/8", word)
		}
		allow = append(allow, prefix.Masked())
	}
	return allow, nil
}
