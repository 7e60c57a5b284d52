package traffic

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
)

// A port below 1024 that this process may not listen on is served this much
// higher: 80 at 8080, 443 at 8443.
const (
	firstFreePort = 1024
	shift         = 8000
)

// loopbackOf is where a pod's address is listened for. Only what lies in the
// cluster's own range has such a place: a pod that claims the address of
// something else on this machine gets no listener there.
func loopbackOf(podIP string, within netip.Prefix) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(podIP)
	if err != nil || !ip.Is4() {
		return netip.Addr{}, false
	}
	bytes := ip.As4()
	if bytes[0] == 10 {
		bytes[0] = 127
	}
	ip = netip.AddrFrom4(bytes)
	return ip, within.Contains(ip)
}

// listen opens a port, or the one in its place where privileges are missing.
func listen(ip netip.Addr, port int32) (net.Listener, error) {
	return listenWith(net.Listen, ip, port)
}

func listenWith(open func(network, address string) (net.Listener, error), ip netip.Addr, port int32) (net.Listener, error) {
	listener, err := open("tcp4", join(ip, port))
	if errors.Is(err, fs.ErrPermission) && port < firstFreePort {
		listener, err = open("tcp4", join(ip, port+shift))
	}
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", join(ip, port), err)
	}
	return listener, nil
}

func join(ip netip.Addr, port int32) string {
	return net.JoinHostPort(ip.String(), strconv.Itoa(int(port)))
}

func portOf(listener net.Listener) int32 {
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

// ServedAt is the port at which a balancer's port is really listened at.
func ServedAt(at netip.AddrPort) int32 {
	port := int32(at.Port())
	if port >= firstFreePort {
		return port
	}
	probe, err := net.Listen("tcp4", at.String())
	if errors.Is(err, fs.ErrPermission) {
		return port + shift
	}
	if err == nil {
		probe.Close()
	}
	return port
}
