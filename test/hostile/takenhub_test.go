package hostile_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/testfleet"
	"atoll.dev/atoll/internal/wire"
)

func rootOf(t *testing.T, entries ...desired.Entry) desired.Root {
	t.Helper()
	r, err := desired.NewRoot(entries)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func settings(value string) string {
	return "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {value: '" + value + "'}}"
}

// reported waits for the agent's word on an application.
func (c *conversation) reported(app string, is func(report.State) bool) report.State {
	c.t.Helper()
	var found report.State
	c.hears("a report on "+app, func(m wire.Message) bool {
		if m.Report == nil {
			return false
		}
		i := slices.IndexFunc(m.Report.Report.States, func(s report.State) bool { return s.Key.Application == app && is(s) })
		if i >= 0 {
			found = m.Report.Report.States[i]
		}
		return i >= 0
	})
	return found
}

func has(reason, words string) func(report.State) bool {
	return func(s report.State) bool {
		return slices.ContainsFunc(s.Problems, func(p report.Problem) bool { return p.Reason == reason && strings.Contains(p.Message, words) })
	}
}

// A hub with a valid authority lies in every way that the protocol lets it.
// The agent obeys what is consistent, refuses the rest, and what runs stays.
func TestAnAgentAndAHubThatWasTakenOver(t *testing.T) {
	const project = "castaway"
	m := world(t).Member(lone)
	h := takeHub(t, m)

	good := forged(t, parse(t, settings("true")))
	truth := entryOf(project, "truth", good.Digest())
	honest := rootOf(t, truth)
	c := h.meet()
	c.asks(honest)
	c.wanted(good.Digest())
	c.gives(good.Digest(), good.Encode())
	c.reported("truth", func(s report.State) bool { return s.Sync == report.InSync })
	unharmed := func(t *testing.T) {
		t.Helper()
		cm := &corev1.ConfigMap{}
		if err := m.Client().Get(t.Context(), client.ObjectKey{Namespace: project, Name: "settings"}, cm); err != nil || cm.Data["value"] != "true" {
			t.Fatalf("what ran was changed: %v, %v", cm.Data, err)
		}
	}
	unharmed(t)
	resend := func(m wire.Message) bool { return m.Resend != nil && m.Resend.Desired }

	t.Run("a change against another base", func(t *testing.T) {
		other := entryOf(project, "other", good.Digest())
		d := desired.Delta{Base: rootOf(t, other).Digest(), Target: rootOf(t).Digest(), Removes: []desired.Key{other.Key}}
		c.say(wire.Message{Desired: &wire.Desired{Delta: d}})
		c.hears("a request for the whole", resend)
		unharmed(t)
	})
	t.Run("a change with a forged target", func(t *testing.T) {
		d := desired.Delta{Base: honest.Digest(), Target: desired.Sum([]byte("something else"))}
		for _, e := range honest.Entries {
			d.Removes = append(d.Removes, e.Key)
		}
		c.say(wire.Message{Desired: &wire.Desired{Delta: d}})
		c.hears("a request for the whole", resend)
		unharmed(t)
	})
	t.Run("a whole root with a forged digest", func(t *testing.T) {
		d := desired.Whole(rootOf(t))
		d.Target = honest.Digest()
		c.say(wire.Message{Desired: &wire.Desired{Delta: d}})
		c.hears("a request for the whole", resend)
		unharmed(t)
	})
	t.Run("content that was not asked for", func(t *testing.T) {
		c.gives(good.Digest(), forged(t, parse(t, settings("a-lie"))).Encode())
		unharmed(t)
	})
	t.Run("content that does not match its digest", func(t *testing.T) {
		promised := forged(t, parse(t, settings("promised"))).Digest()
		next := truth
		next.Generation, next.Content = 2, promised
		c.asks(rootOf(t, next))
		c.wanted(promised)
		c.gives(promised, forged(t, parse(t, settings("a-lie"))).Encode())
		c.reported("truth", has("ContentMissing", "digest"))
		unharmed(t)
		c.asks(honest)
		c.reported("truth", func(s report.State) bool { return s.Sync == report.InSync })
	})
	t.Run("content that is no content", func(t *testing.T) {
		junk := []byte("atoll-content/1\n{\"manifest\":{\"kind\":\n")
		c.asks(rootOf(t, truth, entryOf(project, "junk", desired.Sum(junk))))
		c.wanted(desired.Sum(junk))
		c.gives(desired.Sum(junk), junk)
		c.reported("junk", has("ContentMissing", ""))
		unharmed(t)
	})
	t.Run("what the project may not deliver", func(t *testing.T) { c.hostileObjects(t, m, project, truth) })
	t.Run("somebody else's name in the tunnel", func(t *testing.T) { c.hostileCalls(t) })

	t.Run("the words of a leader that was succeeded", func(t *testing.T) {
		h.becomes("first-history", 4)
		c.asks(rootOf(t))
		c.hangsUp("a lower term")
		again := h.meet()
		again.asks(rootOf(t))
		again.hangsUp("a lower term after a new link")
		if again.hello.Seen.Term != 5 {
			t.Errorf("the agent says it obeyed term %d, not 5", again.hello.Seen.Term)
		}
		unharmed(t)
	})
	t.Run("another history that knows nothing", func(t *testing.T) {
		h.becomes("second-history", 1)
		c := h.meet()
		c.asks(rootOf(t))
		c.reported("truth", has("HubOlderThanAgent", ""))
		unharmed(t)
	})
	t.Run("another history that asks to delete", func(t *testing.T) {
		h.becomes("third-history", 99)
		gone := truth
		gone.Policy.OnDelete = v1alpha1.Delete
		c := h.next()
		c.asks(rootOf(t, desired.Withdraw(gone)))
		c.reported("truth", has("HubOlderThanAgent", ""))
		unharmed(t)
	})
}

// next ends the present link and meets the agent on its new one.
func (h *takenHub) next() *conversation {
	h.t.Helper()
	h.mu.Lock()
	current := h.current
	h.mu.Unlock()
	current.Close(nil)
	return h.meet()
}

func (c *conversation) hostileObjects(t *testing.T, m *testfleet.Member, project string, truth desired.Entry) {
	entries := []desired.Entry{truth}
	for i, a := range attempts {
		entries = append(entries, entryOf(project, fmt.Sprintf("attempt-%d", i), forged(t, parse(t, a.by(project).manifest)).Digest()))
	}
	c.asks(rootOf(t, entries...))
	c.hears("a request for all of it", func(m wire.Message) bool { return m.Want != nil && len(m.Want.Contents) >= len(attempts) })
	for i, a := range attempts {
		b := forged(t, parse(t, a.by(project).manifest))
		c.gives(b.Digest(), b.Encode())
		s := c.reported(fmt.Sprintf("attempt-%d", i), func(s report.State) bool {
			return has("PolicyRefused", a.reason)(s) || has("NoKind", "")(s)
		})
		if s.Applied != 0 {
			t.Errorf("%s: %+v", a.name, s)
		}
		absent(t, m.Client(), parse(t, a.by(project).manifest))
	}
}

// hostileCalls opens streams as a hub does for people, in names it has no
// right to.
func (c *conversation) hostileCalls(t *testing.T) {
	call := func(user string, groups []string, path string, header http.Header) (int, string) {
		t.Helper()
		transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.OpenStream(ctx, wire.StreamHeader{Stamp: c.now(), Kind: wire.StreamHTTP, User: user, Groups: groups})
		}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://member/member"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			req.Header[k] = v
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	const secrets = "/api/v1/namespaces/atoll-system/secrets"
	masters := []string{"system:masters"}
	for _, tc := range []struct {
		name   string
		user   string
		groups []string
		header http.Header
		says   string
	}{
		{"the member's admin", "system:admin", masters, nil, "system identities never pass"},
		{"an account of the member's", "system:serviceaccount:atoll-system:atoll-agent", nil, nil, "system identities never pass"},
		{"nobody", "", masters, nil, "named no user"},
		{"a person in the group of masters", "mallory", masters, nil, `User \"atoll:mallory\" cannot`},
		{"a person with the hub's admins", "mallory", []string{"atoll:admins", "cluster-admins"}, nil, `User \"atoll:mallory\" cannot`},
		{"a person who impersonates", "mallory", nil, http.Header{"Impersonate-User": {"system:admin"}, "Impersonate-Group": masters}, `User \"atoll:mallory\" cannot`},
		{"a person who takes the name off", "mallory", nil, http.Header{"Connection": {"Impersonate-User"}}, `User \"atoll:mallory\" cannot`},
		{"a front proxy", "mallory", nil, http.Header{"X-Remote-User": {"system:admin"}, "X-Remote-Group": masters}, `User \"atoll:mallory\" cannot`},
	} {
		code, body := call(tc.user, tc.groups, secrets, tc.header)
		if code != http.StatusForbidden || !strings.Contains(body, tc.says) {
			t.Errorf("%s: want 403 and %q, got %d %s", tc.name, tc.says, code, body)
		}
	}
}
