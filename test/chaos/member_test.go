package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/agent"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/sandbox/edge"
	"atoll.dev/atoll/internal/sandbox/standin"
)

// member is one cluster with its agent, its link and who watches it.
type member struct {
	name    string
	api     *standin.Member
	witness *witness
	ticket  join.Ticket
	line    *edge.Edge
	proxy   string
	log     *slog.Logger

	// unwell: since when it is true, what the agent had to store may be missing.
	unwell bool
	// leftOver counts objects that were to be deleted, and whose agent forgot them.
	leftOver int
	stop     context.CancelFunc // nil while no agent runs
	ended    chan struct{}
	// gaveUp counts the agents that ended by themselves, as a pod's would, and were
	// started again.
	gaveUp atomic.Int32
}

// start runs an agent until stopped; one that ends by itself is started again.
func (m *member) start() {
	if m.stop != nil {
		return
	}
	if m.unwell {
		m.witness.setBlank(true)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stop, m.ended = cancel, make(chan struct{})
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			err := agent.Run(ctx, agent.Options{
				Config: m.api.Config(), Bootstrap: m.ticket, Version: "dev", Log: m.log,
				Proxy: &url.URL{Scheme: "http", Host: m.proxy},
			})
			if ctx.Err() != nil || errors.Is(err, context.Canceled) {
				return
			}
			m.log.Error("the agent ended", "err", err)
			m.gaveUp.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond): // as a kubelet would
			}
		}
	}()
}

func (m *member) halt() {
	if m.stop != nil {
		m.stop()
		<-m.ended
		m.stop = nil
	}
}

// murder ends the agent before it can store or release anything.
func (m *member) murder() {
	m.unwell = true
	m.api.SetDown(true)
	m.halt()
	m.api.SetDown(false)
}

// setLink puts a line's condition in force.
func (m *member) setLink(condition string) {
	m.line.Out.Set(map[string]edge.Condition{
		"open": {}, "hangs": {Cut: edge.Hang}, "is reset": {Cut: edge.Reset},
		"is slow": {Delay: 100 * time.Millisecond, Jitter: 200 * time.Millisecond, Bandwidth: 1 << 20},
	}[condition])
}

// setAPI makes the member's API server behave as told.
func (m *member) setAPI(condition string) {
	m.api.SetDown(condition == "is down")
	m.unwell = m.unwell || condition != "is well" && condition != "is slow"
	switch condition {
	case "is slow":
		m.api.Interfere(func(*http.Request) standin.Fault { return standin.Fault{Delay: rand.N(200 * time.Millisecond)} })
	case "loses answers":
		m.api.Interfere(func(*http.Request) standin.Fault { return standin.Fault{Lose: rand.N(3) == 0} })
	case "refuses":
		m.api.Interfere(refuses)
	case "stores no Secrets":
		m.api.Interfere(storesNoSecrets)
	case "has a chunk damaged":
		m.api.Interfere(nil)
		m.damage()
	default:
		m.api.Interfere(nil)
	}
}

func refuses(r *http.Request) standin.Fault {
	of := schema.GroupResource{Resource: "things"}
	switch rand.N(6) {
	case 0:
		return standin.Fault{Refuse: apierrors.NewInternalError(errors.New("etcdserver: request timed out"))}
	case 1:
		return standin.Fault{Refuse: apierrors.NewTooManyRequests("the server has received too many requests", 1)}
	case 2:
		if r.Method != http.MethodGet {
			return standin.Fault{Refuse: apierrors.NewConflict(of, "some", errors.New("the object has been modified"))}
		}
	}
	return standin.Fault{}
}

// storesNoSecrets is a member whose quota, or whose store, is full for the agent.
func storesNoSecrets(r *http.Request) standin.Fault {
	if r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/namespaces/"+v1alpha1.SystemNamespace+"/secrets") {
		return standin.Fault{Refuse: apierrors.NewForbidden(secrets.GroupResource(), "chunk", errors.New("exceeded quota"))}
	}
	return standin.Fault{}
}

// damage spoils a chunk of the agent's store.
func (m *member) damage() {
	var chunks []*unstructured.Unstructured
	for _, s := range m.api.Objects(secrets) {
		if strings.HasPrefix(s.GetName(), "atoll-chunk-") {
			chunks = append(chunks, s)
		}
	}
	if len(chunks) == 0 {
		return
	}
	c := chunks[rand.N(len(chunks))]
	if _, err := m.api.Edit(secrets, c.GetNamespace(), c.GetName(), "vandal", func(u *unstructured.Unstructured) {
		u.Object["data"] = map[string]any{"data": "c3BvaWxlZA=="}
	}); err != nil {
		m.log.Error("a chunk could not be damaged", "err", err)
	}
}

// find is one delivered object, in one of the projects' namespaces.
func (m *member) find(gvr schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	for _, u := range m.api.Objects(gvr) {
		if u.GetNamespace() == namespace && u.GetName() == name {
			return u
		}
	}
	return nil
}

// edit changes what an application delivered, as somebody with kubectl would.
func (m *member) edit(namespace, name string) error {
	_, err := m.api.Edit(configMaps, namespace, name, "kubectl-edit", func(u *unstructured.Unstructured) {
		u.Object["data"] = map[string]any{"greeting": "by hand", "addition": "of somebody"}
	})
	if err != nil {
		return fmt.Errorf("edit %s by hand: %w", name, err)
	}
	return nil
}

// remove deletes what an application delivered, as somebody with kubectl would.
func (m *member) remove(namespace, name string) {
	for _, gvr := range delivered {
		if u := m.find(gvr, namespace, name); u != nil {
			m.witness.hand(u.GetUID())
			m.api.Remove(gvr, namespace, name)
		}
	}
}

// logTo keeps what an agent says, for whoever looks into a failure.
type logTo struct {
	mu   sync.Mutex
	file *os.File
}

func (l *logTo) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Write(p)
}
