package traffic

import (
	"cmp"
	"errors"
	"hash/fnv"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// dialPatience is beyond what loopback ever takes: a pod either accepts or
// refuses.
const dialPatience = time.Second

// proxy carries the TCP connections of one port of a load balancer to ready
// pods in turn. A connection that is under way when its Service goes is left
// to its two ends.
type proxy struct {
	listener net.Listener
	pods     *Pods

	mu   sync.Mutex
	now  Frontend
	turn int
}

func newProxy(at netip.AddrPort, pods *Pods) (*proxy, error) {
	listener, err := listen(at.Addr(), int32(at.Port()))
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, pods: pods}
	go p.accept()
	return p, nil
}

func (p *proxy) set(f Frontend) {
	f.Endpoints = slices.Clone(f.Endpoints)
	slices.SortFunc(f.Endpoints, compareEndpoints)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = f
}

func compareEndpoints(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.Port, b.Port))
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(linger) // out of file descriptors: some come back
			continue
		}
		go p.carry(conn.(*net.TCPConn))
	}
}

// carry connects a client to the first pod that accepts. Where none does, the
// client sees a reset rather than an empty answer.
func (p *proxy) carry(client *net.TCPConn) {
	for _, endpoint := range p.order(client.RemoteAddr()) {
		at, ok := p.pods.Where(endpoint.IP, endpoint.Port)
		if !ok {
			continue
		}
		if pod, err := net.DialTimeout("tcp4", at.String(), dialPatience); err == nil {
			splice(client, pod.(*net.TCPConn))
			return
		}
	}
	_ = client.SetLinger(0)
	client.Close()
}

// order is all endpoints, that whose turn it is first.
func (p *proxy) order(client net.Addr) []Endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.Sticky {
		return stickyOrder(p.now.Endpoints, hostOf(client.String()))
	}
	n := len(p.now.Endpoints)
	if n == 0 {
		return nil
	}
	p.turn = (p.turn + 1) % n
	return slices.Concat(p.now.Endpoints[p.turn:], p.now.Endpoints[:p.turn])
}

// stickyOrder ranks endpoints by a hash of client and endpoint together: when
// one goes, only its own clients move.
func stickyOrder(endpoints []Endpoint, client string) []Endpoint {
	weight := func(e Endpoint) uint64 {
		h := fnv.New64a()
		io.WriteString(h, client+" "+e.IP+" "+strconv.Itoa(int(e.Port)))
		return h.Sum64()
	}
	ranked := slices.Clone(endpoints)
	slices.SortFunc(ranked, func(a, b Endpoint) int {
		return cmp.Compare(weight(a), weight(b))
	})
	return ranked
}

// splice carries bytes both ways until both ends have said their last; an end
// that says no more may still listen.
func splice(a, b *net.TCPConn) {
	done := make(chan struct{})
	go func() {
		oneWay(a, b)
		close(done)
	}()
	oneWay(b, a)
	<-done
	a.Close()
	b.Close()
}

func oneWay(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		// One direction is broken: nothing useful comes of the other.
		_ = to.SetLinger(0)
		to.Close()
		from.Close()
		return
	}
	_ = to.CloseWrite()
}
