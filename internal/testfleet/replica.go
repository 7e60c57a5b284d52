package testfleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
)

// door is the one address that agents dial while hubs take turns, as a load
// balancer would be. What was connected stays where it is.
type door struct {
	listener net.Listener
	to       atomic.Pointer[string]
}

func newDoor() (*door, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the door to the hubs: %w", err)
	}
	d := &door{listener: l}
	go d.serve()
	return d, nil
}

func (d *door) address() string { return d.listener.Addr().String() }

func (d *door) leadTo(address string) { d.to.Store(&address) }

func (d *door) serve() {
	for {
		from, err := d.listener.Accept()
		if err != nil {
			return // closed
		}
		go d.relay(from)
	}
}

func (d *door) relay(from net.Conn) {
	defer from.Close()
	address := d.to.Load()
	if address == nil {
		return
	}
	to, err := net.Dial("tcp", *address)
	if err != nil {
		return
	}
	defer to.Close()
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // either end may go at any time
			ended <- struct{}{}
		}()
	}
	<-ended
}

// StandBy starts another hub on the store of the first, which ends with the
// test.
func (f *Fleet) StandBy() *Hub {
	f.t.Helper()
	first := f.Hub.hubProcess
	second := &hubProcess{store: first.store, registry: first.registry, door: first.door, Dir: first.Dir, heartbeat: first.heartbeat}
	h := &Hub{hubProcess: second, t: f.t}
	h.must(second.prepare("data-2"))
	f.t.Cleanup(func() { h.must(second.end(syscall.SIGKILL)) })
	h.StandBy()
	return h
}

// StandBy starts a hub and waits until it stands by, because another leads or
// did last.
func (h *Hub) StandBy() {
	h.t.Helper()
	before := h.lastWords(math.MaxInt)
	h.must(h.start())
	Eventually(h.t, "the hub stands by", func(ctx context.Context) error {
		if !h.alive() {
			h.t.Fatalf("the hub ended:\n%s", h.lastWords(20))
		}
		if !strings.Contains(strings.TrimPrefix(h.lastWords(math.MaxInt), before), "standing by") {
			return errors.New("it does not say so")
		}
		return h.answers(ctx) // with what the leader says
	})
}

// Leads waits until the hub leads in a later term than that, lets agents come
// to it, and returns its term.
func (h *Hub) Leads(after uint64) (term uint64) {
	h.t.Helper()
	Eventually(h.t, "the hub leads", func(ctx context.Context) error {
		if !h.alive() {
			h.t.Fatalf("the hub ended:\n%s", h.lastWords(20))
		}
		if err := h.answers(ctx); err != nil {
			return err
		}
		o, err := h.fleet.Overview(ctx)
		if err != nil {
			return err
		}
		if term = o.Hub.Term; term <= after {
			return fmt.Errorf("it is term %d", term)
		}
		return nil
	})
	h.door.leadTo(h.Agents)
	return term
}

// Freeze halts the hub where it is; Thaw lets it go on.
func (h *Hub) Freeze() { h.t.Helper(); h.must(h.send(syscall.SIGSTOP)) }

// Thaw ends Freeze.
func (h *Hub) Thaw() { h.t.Helper(); h.must(h.send(syscall.SIGCONT)) }

// Ends waits until the hub has ended by itself, and returns its last words.
func (h *Hub) Ends() string {
	h.t.Helper()
	Eventually(h.t, "the hub ends", func(context.Context) error {
		if h.alive() {
			return errors.New("it runs")
		}
		return nil
	})
	return h.lastWords(5)
}

// StoresOutside says whether several hubs can share the store.
func StoresOutside() bool {
	mode := os.Getenv(StorageVariable)
	return mode != "" && mode != "embedded"
}
