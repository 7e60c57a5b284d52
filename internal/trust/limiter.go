package trust

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// limiterIdle is after how long an address is forgotten; its bucket is
	// full again by then.
	limiterIdle = 5 * time.Minute
	// limiterMax bounds the addresses remembered.
	limiterMax = 50_000
)

// limiter is a token bucket per remote address.
type limiter struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	mu    sync.Mutex
	byIP  map[netip.Addr]*bucket
	sweep time.Time
}

type bucket struct {
	limiter *rate.Limiter
	seen    time.Time
}

func newLimiter(perSecond float64, burst int, now func() time.Time) *limiter {
	return &limiter{rate: rate.Limit(perSecond), burst: burst, now: now, byIP: map[netip.Addr]*bucket{}}
}

// allow takes one request from the bucket of "ip:port".
func (l *limiter) allow(remote string) bool {
	var ip netip.Addr // the zero address is a bucket for all that have none
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		ip = prefixOf(ap.Addr().Unmap())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.forget(now)
	b := l.byIP[ip]
	if b == nil {
		if len(l.byIP) >= limiterMax {
			return false
		}
		b = &bucket{limiter: rate.NewLimiter(l.rate, l.burst)}
		l.byIP[ip] = b
	}
	b.seen = now
	return b.limiter.AllowN(now, 1)
}

// prefixOf counts an IPv6 /64 as one: whoever has one address has them all.
func prefixOf(ip netip.Addr) netip.Addr {
	if !ip.Is6() {
		return ip
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ip
	}
	return prefix.Addr()
}

func (l *limiter) forget(now time.Time) {
	if now.Before(l.sweep) {
		return
	}
	l.sweep = now.Add(limiterIdle / 2)
	for ip, b := range l.byIP {
		if now.Sub(b.seen) > limiterIdle {
			delete(l.byIP, ip)
		}
	}
}
