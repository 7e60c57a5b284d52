package hub

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/hook"
)

// hookConnections are held at a time: anybody may open one and say nothing, and
// the hub has other use for its files.
const hookConnections = 256

// serveHooks hears Git hosts at HookListen until stop is called. They tell any
// hub of a store, which need not lead: what they wish is written into it.
func (s *start) serveHooks(c client.Client) (stop func(), err error) {
	if s.HookListen == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", s.HookListen)
	if err != nil {
		return nil, fmt.Errorf("listen for hooks at %s: %w", s.HookListen, err)
	}
	server := &http.Server{Handler: hook.New(c, clock.Now), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	go func() { _ = server.Serve(netutil.LimitListener(listener, hookConnections)) }() // a hub goes on, and asks by itself
	return func() { _ = server.Close() }, nil
}
