package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/recovery"
	"atoll.dev/atoll/internal/wire"
)

// recollecting answers a hub that has lost what this agent still has. A hub of
// the history that is followed is told nothing: it knows. Values of Secrets are
// told to nobody.
func (a *agent) recollecting(mux *http.ServeMux) {
	mux.HandleFunc("GET "+localPrefix+"/memory", func(w http.ResponseWriter, r *http.Request) {
		out := a.memory.recollect(speaker(r))
		out.Cluster = a.Bootstrap.Cluster
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // the hub is gone if this fails
	})
	mux.HandleFunc("GET "+localPrefix+"/memory/{project}/contents/{digest}", func(w http.ResponseWriter, r *http.Request) {
		data, err := a.memory.recollectContent(speaker(r), r.PathValue("project"), desired.Digest(r.PathValue("digest")))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(data) // the hub is gone if this fails
	})
}

// speaker is which hub opened the stream that a request came on.
func speaker(r *http.Request) wire.Stamp {
	h, _ := r.Context().Value(headerKey{}).(wire.StreamHeader)
	return h.Stamp
}

// forgotten are the entries that a hub of another history may not know; none
// when this agent follows it; m.mu is held.
func (m *memory) forgotten(from wire.Stamp) (entries []desired.Entry, follows bool) {
	if from.Succeeds(m.stamp) {
		return nil, true
	}
	return m.verdict.Effective.Entries, false
}

// follows tells that the agent obeys the hub that speaks.
func (m *memory) follows(from wire.Stamp) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return from.Succeeds(m.stamp)
}

// recollect tells what is enforced by the word of another hub's history.
func (m *memory) recollect(from wire.Stamp) recovery.Memory {
	m.mu.Lock()
	entries, follows := m.forgotten(from)
	out := recovery.Memory{Follows: follows, Incarnation: m.stamp.Incarnation}
	m.mu.Unlock()
	for _, e := range entries {
		out.Applications = append(out.Applications, m.contents.running(e))
	}
	return out
}

var errNotRemembered = errors.New("this agent runs no such content of that project, or follows the hub that asks")

// recollectContent is a content that the project runs here.
func (m *memory) recollectContent(from wire.Stamp, project string, digest desired.Digest) ([]byte, error) {
	m.mu.Lock()
	entries, _ := m.forgotten(from)
	m.mu.Unlock()
	runs := slices.ContainsFunc(entries, func(e desired.Entry) bool { return e.Key.Project == project && e.Content == digest })
	data, ok := m.contents.encoded(digest)
	if !runs || !ok {
		return nil, errNotRemembered
	}
	return data, nil
}

// encoded is a content as it came.
func (c *contents) encoded(d desired.Digest) ([]byte, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	data, ok := c.bundles[d]
	return data, ok
}

// running tells of an entry what a hub needs to ask for the same again.
func (c *contents) running(e desired.Entry) recovery.Running {
	r := recovery.Running{
		Key: e.Key, UID: e.UID, After: e.After, Revision: e.Revision, Content: e.Content, Namespace: e.Namespace, Policy: e.Policy, Withdrawn: e.Withdrawn,
		LateBinding: e.Bindings != nil,
	}
	b, err := c.bundle(e.Content)
	if err != nil {
		r.Missing = err.Error()
		return r
	}
	r.Secrets = b.Secrets()
	if !r.LateBinding {
		return r
	}
	used, err := b.LateBound()
	if err != nil {
		r.Missing = fmt.Sprintf("its bindings cannot be read: %v", err)
		return r
	}
	r.Bindings = map[string]string{}
	for name, value := range e.Bindings {
		if strings.HasPrefix(name, "var.") || slices.Contains(used, name) {
			r.Bindings[name] = value
		}
	}
	return r
}
