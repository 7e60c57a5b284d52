package realnode

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// outwardPort is where the node relays to the machine's loopback.
const outwardPort = 6442

// dialTimeout is for the machine and for the node, neither of which is far.
const dialTimeout = 10 * time.Second

// relay connects the node with the machine. The calling thread is in the node's
// network, which netns names; all other threads are in the machine's.
func (n Network) relay(netns *os.File) error {
	toAPI := func(net.Conn) (net.Conn, error) { return dialMachine(loopback(n.APIServer)) }
	for address, dial := range map[string]func(net.Conn) (net.Conn, error){
		loopback(n.APIServer):                                  toAPI, // for the node's own programs
		net.JoinHostPort(n.NodeIP, strconv.Itoa(APIPort)):      toAPI, // for the kubernetes Service
		net.JoinHostPort("0.0.0.0", strconv.Itoa(outwardPort)): n.dialOut,
	} {
		l, err := listenHere(address)
		if err != nil {
			return err
		}
		go accept(l, dial)
	}
	return inwardProxy{netns}.serve(loopback(n.Inward))
}

// listenHere listens in the network of the calling thread.
func listenHere(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen in the node's network: %w", err)
	}
	return l, nil
}

func accept(l net.Listener, dial func(net.Conn) (net.Conn, error)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		go func() {
			far, err := dial(conn)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				conn.Close()
				return
			}
			join(conn, far)
		}()
	}
}

func dialMachine(address string) (net.Conn, error) {
	return net.DialTimeout("tcp", address, dialTimeout)
}

// dialOut reaches, through the cluster's edge, the port of the machine's
// loopback that a pod meant before it was led here.
func (n Network) dialOut(from net.Conn) (net.Conn, error) {
	meant, err := meantBy(from)
	if err != nil {
		return nil, fmt.Errorf("relay to the machine: %w", err)
	}
	conn, err := dialMachine(loopback(n.Proxy))
	if err != nil {
		return nil, fmt.Errorf("relay to the machine: %w", err)
	}
	through, err := connectBy(conn, loopback(int(meant.Port())))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("relay to port %d of the machine: %w", meant.Port(), err)
	}
	return through, nil
}

// connectBy asks an HTTP proxy for a connection.
func connectBy(conn net.Conn, target string) (net.Conn, error) {
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the edge answers %s", response.Status)
	}
	return early{conn, reader}, nil
}

// early reads first what came with the proxy's answer.
type early struct {
	net.Conn
	reader io.Reader
}

func (e early) Read(p []byte) (int, error) { return e.reader.Read(p) }

// meantBy is where a connection was going before a rule of the kernel
// redirected it.
func meantBy(conn net.Conn) (netip.AddrPort, error) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var meant netip.AddrPort
	var failed error
	err = raw.Control(func(fd uintptr) {
		// The kernel writes a sockaddr_in of 16 bytes into what x/sys has as
		// the option of that size.
		m, err := unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, unix.SO_ORIGINAL_DST)
		if failed = err; err == nil {
			b := m.Multiaddr
			meant = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3]))
		}
	})
	return meant, errors.Join(err, failed)
}

// join copies both ways until both have ended.
func join(a, b net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		forward(a, b)
	}()
	forward(b, a)
	<-done
	a.Close()
	b.Close()
}

// forward passes the end on too: half of a connection may still be wanted.
func forward(to, from net.Conn) {
	_, _ = io.Copy(to, from) // how it ended, the other side learns by the end
	if e, ok := to.(early); ok {
		to = e.Conn
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
