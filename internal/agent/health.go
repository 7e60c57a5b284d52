package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Health is what a pod's probes ask of an agent. The zero value is an agent
// that has just started; a nil one is asked by nobody.
type Health struct {
	mu      sync.Mutex
	acting  bool
	standby bool
}

func (h *Health) acts(now bool) { h.set(func() { h.acting = now }) }

func (h *Health) standsBy(now bool) { h.set(func() { h.standby = now }) }

func (h *Health) set(change func()) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// ready tells that this agent acts, or stands by with a link to the hub. An
// agent that acts is ready without its hub too: it enforces.
func (h *Health) ready() (bool, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.acting:
		return true, "acting"
	case h.standby:
		return true, "standing by, linked to the hub"
	}
	return false, "neither acting nor linked to the hub"
}

// Serve answers /healthz, that the process lives, and /readyz until ctx ends.
// An agent that nobody can probe works all the same: its pod is not ready, so it
// replaces no other.
func (h *Health) Serve(ctx context.Context, address string, log *slog.Logger) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", bracketed(address))
	if err != nil {
		log.Warn("probes are not answered", "address", address, "err", err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "alive") // the prober is gone if this fails
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ok, state := h.ready()
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = fmt.Fprintln(w, state)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // probes have no end to wait for
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("probes are answered no more", "err", err)
		}
	}()
	log.Info("answering probes", "address", listener.Addr())
}

// bracketed lets a manifest write $(POD_IP):8080 whatever family the address
// is of.
func bracketed(address string) string {
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 || strings.HasPrefix(address, "[") {
		return address
	}
	return net.JoinHostPort(address[:colon], address[colon+1:])
}
