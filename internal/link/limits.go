package link

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits bound what strangers and agents may take of the hub. Zero fields
// take the defaults.
type Limits struct {
	// Sessions is how many links may live. Default 12,000.
	Sessions int
	// Unproven is how many connections may exist that have not proved an
	// enrolled key, those of joining and renewal included. Default 4,096.
	Unproven int
	// UnprovenPerIP is the same for one address; many agents may stand behind
	// one NAT or proxy. Default 1,024.
	UnprovenPerIP int
	// Streams is how many streams one link may carry. Default 128.
	Streams int
	// Handshake is how long a connection may take to become a link or a
	// request. Default 10 s.
	Handshake time.Duration
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{{&l.Sessions, 12_000}, {&l.Unproven, 4_096}, {&l.UnprovenPerIP, 1_024}, {&l.Streams, 128}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if l.Handshake == 0 {
		l.Handshake = 10 * time.Second
	}
	return l
}

// admission counts unproven connections. A connection over the limit is
// closed, not queued: queues are what slow clients fill.
type admission struct {
	limits Limits

	mu    sync.Mutex
	total int
	perIP map[netip.Addr]int
}

func newAdmission(limits Limits) *admission {
	return &admission{limits: limits, perIP: map[netip.Addr]int{}}
}

// admit takes a place; release gives it back and may be called twice.
func (a *admission) admit(remote net.Addr) (release func(), ok bool) {
	ip := addrOf(remote)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.total >= a.limits.Unproven || a.perIP[ip] >= a.limits.UnprovenPerIP {
		return nil, false
	}
	a.total++
	a.perIP[ip]++
	return sync.OnceFunc(func() { a.release(ip) }), true
}

func (a *admission) release(ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.perIP[ip]--; a.perIP[ip] == 0 {
		delete(a.perIP, ip)
	}
}

func addrOf(remote net.Addr) netip.Addr {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
