package traffic

import (
	"context"
	"log"
	"net"
	"net/http"
	"time"
)

// linger is for how long a port still accepts after its pod has left the
// balancers: what connected in the last moment is answered, not reset.
const linger = 100 * time.Millisecond

// door is one port of a pod that is listened at. It costs one goroutine while
// nobody is connected.
type door struct {
	owner    *container
	listener net.Listener
	server   *http.Server
	closing  *time.Timer
}

func newDoor(listener net.Listener, owner *container, port int32, errors *log.Logger) *door {
	d := &door{owner: owner, listener: listener, server: &http.Server{
		Handler: owner.serve(port), ErrorLog: errors,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}}
	go func() { _ = d.server.Serve(listener) }() // until it is closed
	return d
}

// drain gives requests in flight time to end, and ends the rest.
func (d *door) drain(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if d.server.Shutdown(ctx) != nil {
		d.server.Close()
	}
}
