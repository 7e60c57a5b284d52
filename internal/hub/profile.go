package hub

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// loopbackOnly refuses an address for profiles that other machines reach:
// whoever reads a heap reads what is in it, and nobody is asked who they are.
func loopbackOnly(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--pprof %q is not host:port", address)
	}
	if !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("--pprof %s would be open to others: profiles hold what the memory does; give 127.0.0.1:PORT", address)
	}
	return nil
}

// serveProfiles answers `go tool pprof` at address until stop is called.
func serveProfiles(address string) (stop func(), err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve profiles at %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // a hub goes on without its profiles
	return func() { _ = server.Close() }, nil
}
