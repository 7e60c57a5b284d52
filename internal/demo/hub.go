package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"atoll.dev/atoll/internal/sandbox"
)

const (
	// grace is what a process gets to end by itself.
	grace = 10 * time.Second
	// hubTimeout is far beyond the seconds that a hub takes, for busy machines.
	hubTimeout = 2 * time.Minute
)

// freeAddress is the loopback address with that port, or another free one.
func freeAddress(port int) (string, error) {
	for _, p := range []int{port, 0} {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String(), nil
	}
	return "", fmt.Errorf("find a free port: none on 127.0.0.1")
}

// startHub starts the hub if it does not run, and waits until it answers.
func (d *Demo) startHub(ctx context.Context, r *record) error {
	if r.Hub.Alive() {
		return d.awaitHub(ctx, r)
	}
	process, err := sandbox.StartDetached(d.path("logs", "hub.log"), d.program("atoll"),
		"hub", "--data-dir", d.path("hub"), "--listen", r.API, "--agent-listen", r.Agents)
	if err != nil {
		return err
	}
	r.Hub = process
	if err := d.save(*r); err != nil {
		return err
	}
	if err := d.awaitHub(ctx, r); err != nil {
		return err
	}
	d.say("hub ready: API https://%s, agents dial %s", r.API, r.Agents)
	return nil
}

func (d *Demo) awaitHub(ctx context.Context, r *record) error {
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	for {
		if _, err := os.Stat(d.kubeconfig()); err == nil {
			if _, err := d.ask(ctx, nil, "version", "-o", "json"); err == nil {
				return nil
			}
		}
		if !r.Hub.Alive() {
			return fmt.Errorf("the hub ended: %s (log: %s)", lastLine(d.path("logs", "hub.log")), d.path("logs", "hub.log"))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the hub is not ready (log: %s): %w", d.path("logs", "hub.log"), ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
