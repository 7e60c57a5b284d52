package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/sandbox/standin"
)

// TestAMemberThatFailsAtFirstEndsNoAgent: an API server that restarts answers
// some requests and fails others, whichever the agent begins with.
func TestAMemberThatFailsAtFirstEndsNoAgent(t *testing.T) {
	for name, fault := range map[string]standin.Fault{
		"its store is slow":    {Refuse: apierrors.NewInternalError(errors.New("etcdserver: request timed out"))},
		"its answers get lost": {Lose: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := standin.New(standin.Options{Name: "one", UID: "of-one", Version: "v1.36.3"})
			t.Cleanup(m.Close)
			asked := make(chan struct{}, 1000)
			m.Interfere(func(r *http.Request) standin.Fault {
				if r.URL.Path == "/api/v1/namespaces/kube-system" {
					return standin.Fault{} // it knows who it is
				}
				select {
				case asked <- struct{}{}:
				default:
				}
				return fault
			})
			ended := runAgent(t, m)
			for range 3 {
				select {
				case <-asked:
				case err := <-ended:
					t.Fatalf("the agent ended: %v", err)
				case <-time.After(time.Minute):
					t.Fatal("the agent asks nothing any more")
				}
			}
		})
	}
}

// TestAMemberThatForbidsEndsTheAgent: whoever installed it has to hear of it.
func TestAMemberThatForbidsEndsTheAgent(t *testing.T) {
	m := standin.New(standin.Options{Name: "one", UID: "of-one", Version: "v1.36.3"})
	t.Cleanup(m.Close)
	m.Interfere(func(r *http.Request) standin.Fault {
		if r.Method == http.MethodGet {
			return standin.Fault{}
		}
		return standin.Fault{Refuse: apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "atoll-system", errors.New("RBAC"))}
	})
	select {
	case err := <-runAgent(t, m):
		if !apierrors.IsForbidden(err) {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the agent goes on")
	}
}

// runAgent runs an agent whose hub is nowhere, until the test ends.
func runAgent(t *testing.T, m *standin.Member) <-chan error {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		ended <- Run(ctx, Options{
			Config: m.Config(), Bootstrap: join.Ticket{Cluster: "one", Token: "t", Address: "127.0.0.1:1", Roots: "{}"},
			Version: "dev", Log: slog.New(slog.DiscardHandler),
		})
	}()
	t.Cleanup(func() { cancel(); <-over })
	return ended
}
