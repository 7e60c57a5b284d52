package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"atoll.dev/atoll/internal/sandbox/edge"
)

// retryExpiry is when a fault that could not be ended is tried again.
const retryExpiry = 5 * time.Second

// edgeServer is what runs in the edge's process.
type edgeServer struct {
	fleet *Fleet
	wake  chan struct{}

	mu    sync.Mutex
	edges map[string]*edge.Edge
}

// ServeEdge is the edge of every cluster in dir until ctx ends. It looks again
// when it is told so on the port.
func ServeEdge(ctx context.Context, dir string, port int) error {
	s := &edgeServer{fleet: New(dir), wake: make(chan struct{}, 1), edges: map[string]*edge.Edge{}}
	s.fleet.lifeline = inheritedLifeline()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("listen for changes: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sync", s.answer)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: edgeTimeout}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	go s.endFaults(ctx)
	return server.Serve(l)
}

// inheritedLifeline ties what the edge starts to who started the edge.
func inheritedLifeline() *lifeline {
	fd, err := strconv.Atoi(os.Getenv(LifelineVariable))
	if err != nil {
		return nil
	}
	return &lifeline{read: os.NewFile(uintptr(fd), "lifeline")}
}

func (s *edgeServer) answer(w http.ResponseWriter, _ *http.Request) {
	if err := s.sync(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
	w.WriteHeader(http.StatusNoContent)
}

// sync does what is recorded. It takes no lock on the fleet: who tells us
// holds it.
func (s *edgeServer) sync() error {
	states, err := s.fleet.states()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	there := map[string]bool{}
	for _, state := range states {
		name := state.Spec.Name
		there[name] = true
		if s.edges[name] == nil {
			e, err := edge.Listen(state.edgeAddresses())
			if err != nil {
				errs = append(errs, fmt.Errorf("cluster %s: %w", name, err))
				continue
			}
			s.edges[name] = e
		}
		in, out := conditions(state.Faults, time.Now())
		errs = append(errs, s.fleet.writeSkew(state))
		s.edges[name].In.Set(in)
		s.edges[name].Out.Set(out)
	}
	for name, e := range s.edges {
		if !there[name] {
			errs = append(errs, e.Close())
			delete(s.edges, name)
		}
	}
	return errors.Join(errs...)
}

func (s State) edgeAddresses() edge.Addresses {
	loopback := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	return edge.Addresses{API: loopback(s.Ports.Outside), Target: loopback(s.Ports.APIServer), Proxy: loopback(s.Ports.Proxy)}
}

// conditions are what the faults in force make of a cluster's two lines.
func conditions(faults []Fault, now time.Time) (in, out edge.Condition) {
	for _, f := range faults {
		if f.over(now) {
			continue
		}
		switch f.Kind {
		case Slowed:
			slow := edge.Condition{Delay: f.Latency.Duration / 2, Jitter: f.Jitter.Duration / 2, Bandwidth: f.Bandwidth}
			slow.Cut = in.Cut
			in = slow
			slow.Cut = out.Cut
			out = slow
		case Partitioned:
			cut := edge.Hang
			if f.Reset {
				cut = edge.Reset
			}
			if f.From != FromHub {
				in.Cut = cut
			}
			if f.From != FromOutside {
				out.Cut = cut
			}
		}
	}
	return in, out
}

// endFaults ends each fault when its time is up.
func (s *edgeServer) endFaults(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		next, err := s.fleet.endOverdue(ctx, time.Now())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			next = time.Now().Add(retryExpiry)
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}
