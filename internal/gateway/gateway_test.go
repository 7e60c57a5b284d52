package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/gateway"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/wire"
)

func TestAnAgentWithoutAnythingGetsTheWholeAndThenWhatChanges(t *testing.T) {
	h := newHub(t, time.Hour)
	h.set("a", entry("x", 1))
	h.book.MarkComplete()
	a := h.connect("a", wire.Hello{})
	if d := a.take(); d.Base != "" || len(d.Upserts) != 1 {
		t.Fatalf("the first word is %+v", d)
	}
	h.set("a", entry("y", 1))
	if d := a.take(); d.Base == "" || len(d.Upserts) != 1 || d.Upserts[0].Key != key("y") {
		t.Fatalf("the change is %+v", d)
	}
	h.book.Set(key("x"), nil)
	if d := a.take(); len(d.Upserts) != 0 || len(d.Removes) != 1 {
		t.Fatalf("the removal is %+v", d)
	}
	if a.root.Digest() != h.book.Root("a").Digest() {
		t.Error("the agent has another root")
	}
}

func TestAnAgentThatHasEverythingHearsAHeartbeatOnly(t *testing.T) {
	h := newHub(t, time.Hour)
	h.set("a", entry("x", 1))
	h.book.MarkComplete()
	a := h.connect("a", wire.Hello{Desired: h.book.Root("a").Digest()})
	m := a.next("any word", func(wire.Message) bool { return true })
	if m.Heartbeat == nil || m.Heartbeat.Desired != h.book.Root("a").Digest() {
		t.Fatalf("heard %+v", m)
	}
	a.root = h.book.Root("a")
	h.set("a", entry("y", 1))
	if d := a.take(); d.Base == "" || len(d.Upserts) != 1 {
		t.Errorf("after that it gets %+v, want what changed", d)
	}
}

func TestNothingIsAskedForBeforeTheHubKnowsWhatItWants(t *testing.T) {
	h := newHub(t, 20*time.Millisecond)
	h.set("a", entry("x", 1)) // one of many applications
	a := h.connect("a", wire.Hello{})
	for range 3 { // heartbeats keep the link, and name no digest
		m := a.next("any word", func(wire.Message) bool { return true })
		if m.Heartbeat == nil || m.Heartbeat.Desired != "" {
			t.Fatalf("heard %+v", m)
		}
	}
	h.set("a", entry("y", 1))
	h.book.MarkComplete()
	if d := a.take(); len(d.Upserts) != 2 {
		t.Errorf("got %+v", d)
	}
}

func TestManyChangesAtOnceBecomeFewMessages(t *testing.T) {
	h := newHub(t, time.Hour)
	h.book.MarkComplete()
	a := h.connect("a", wire.Hello{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range int64(100) {
				h.set("a", entry(fmt.Sprint("app-", w), i+1))
			}
		})
	}
	for a.root.Digest() != h.book.Root("a").Digest() || len(a.root.Entries) < 4 || a.root.Entries[3].Generation < 100 {
		a.take()
	}
	wg.Wait()
	for a.root.Digest() != h.book.Root("a").Digest() {
		a.take()
	}
}

func TestAnAgentThatLostTrackGetsTheWholeAgain(t *testing.T) {
	h := newHub(t, time.Hour)
	h.set("a", entry("x", 1))
	h.book.MarkComplete()
	a := h.connect("a", wire.Hello{})
	a.take()
	a.say(wire.Message{Resend: &wire.Resend{Desired: true}})
	if d := a.take(); d.Base != "" || len(d.Upserts) != 1 {
		t.Errorf("got %+v", d)
	}
}

func TestReportsAreEnteredAndMistakesAskedAgain(t *testing.T) {
	h := newHub(t, time.Hour)
	h.book.MarkComplete()
	a := h.connect("a", wire.Hello{})
	a.say(wire.Message{Report: &wire.Report{Report: whole(well("x"))}})
	if got := <-h.heard; got != "a" {
		t.Errorf("heard of %q", got)
	}
	if s := h.fleet.Get("a").States()[key("x")]; s.Sync != report.InSync {
		t.Errorf("the hub holds %+v", s)
	}
	resend := func(m wire.Message) bool { return m.Resend != nil && m.Resend.Report }
	lost := report.Report{States: []report.State{well("z")}, Digest: desired.Sum([]byte("with another"))}
	a.say(wire.Message{Report: &wire.Report{Report: lost}})
	a.next("a request to report whole", resend)
	a.say(wire.Message{Heartbeat: &wire.Heartbeat{Reported: desired.Sum([]byte("not that")), At: time.Now().UnixMilli()}})
	a.next("a request to report whole", resend)
	a.say(wire.Message{Heartbeat: &wire.Heartbeat{Desired: "d", Reported: h.fleet.Digest("a"), At: time.Now().UnixMilli()}})
	h.eventually("the heartbeat is heard", func() bool { return h.fleet.Get("a").Desired == "d" })
}

func TestAReportNoAgentSendsEndsTheLink(t *testing.T) {
	h := newHub(t, time.Hour)
	h.book.MarkComplete()
	a := h.connect("a", wire.Hello{})
	s := well("x")
	s.Sync = "Splendid"
	// The hub may close before the send returns: its error says nothing.
	_ = a.link.Send(t.Context(), wire.Message{Stamp: stamp, Report: &wire.Report{Report: whole(s)}})
	a.ends("a report of an unknown state")
	if got := h.fleet.Get("a").States(); len(got) != 0 {
		t.Errorf("the hub holds %v", got)
	}
}

func TestContentComesInPiecesWithItsValues(t *testing.T) {
	h := newHub(t, time.Hour)
	data := bytes.Repeat([]byte("0123456789abcdef"), 2*wire.MaxPiece/16)
	data = append(data, "the rest"...)
	var values []wire.SealedValue
	for i := range 12 { // together larger than any frame
		values = append(values, wire.SealedValue{Ref: fmt.Sprint(i), Sealed: make([]byte, 1<<20)})
	}
	d := h.shelf.put(data, values...)
	e := entry("x", 1)
	e.Content = d
	h.set("a", e)
	h.book.MarkComplete()
	a := h.connect("a", wire.Hello{})
	a.take()
	a.say(wire.Message{Want: &wire.Want{Contents: []desired.Digest{d}}})
	var got []byte
	refs := map[string]bool{}
	for len(got) < len(data) {
		c := a.next("a piece", func(m wire.Message) bool { return m.Content != nil }).Content
		if c.Digest != d || c.Size != int64(len(data)) || c.Offset != int64(len(got)) || c.Missing != "" {
			t.Fatalf("piece of %d bytes at %d of %d: %q", len(c.Data), c.Offset, c.Size, c.Missing)
		}
		got = append(got, c.Data...)
		for _, v := range c.Values {
			refs[v.Ref] = true
		}
	}
	if !bytes.Equal(got, data) || len(refs) != len(values) {
		t.Errorf("%d bytes and %d values arrived", len(got), len(refs))
	}
}

func TestAChangeBringsItsSmallContentsAndNoOthers(t *testing.T) {
	h := newHub(t, time.Hour)
	small := h.shelf.put([]byte("small"), wire.SealedValue{Ref: "r", Sealed: []byte("sealed")})
	large, lost := h.shelf.put(bytes.Repeat([]byte("large"), 1<<16)), desired.Sum([]byte("lost"))
	e := entry("x", 1)
	e.Content = small
	h.book.MarkComplete()
	a := h.connect("a", wire.Hello{})
	a.take()
	h.set("a", e)
	change := func() *wire.Desired {
		t.Helper()
		return a.next("a change", func(m wire.Message) bool { return m.Desired != nil }).Desired
	}
	if got := change().Contents; len(got) != 1 || got[0].Digest != small || string(got[0].Data) != "small" || got[0].Size != 5 || len(got[0].Values) != 1 {
		t.Errorf("with a new content comes %+v", got)
	}
	e.Generation = 2
	h.set("a", e)
	if got := change().Contents; len(got) != 0 {
		t.Errorf("with a content that was sent before comes %+v", got)
	}
	for _, digest := range []desired.Digest{large, lost} {
		e.Content = digest
		h.set("a", e)
		if got := change(); len(got.Contents) != 0 || len(got.Delta.Upserts) != 1 {
			t.Errorf("with %s come %d contents", digest.Short(), len(got.Contents))
		}
	}
}

func TestAnAgentReadsItsOwnContentsAndNothingElse(t *testing.T) {
	h := newHub(t, time.Hour)
	mine, theirs := h.shelf.put([]byte("mine")), h.shelf.put([]byte("theirs"))
	for cluster, d := range map[string]desired.Digest{"a": mine, "b": theirs} {
		e := entry("of-"+cluster, 1)
		e.Content = d
		h.set(cluster, e)
	}
	h.book.MarkComplete()
	a := h.connect("a", wire.Hello{})
	a.say(wire.Message{Want: &wire.Want{Contents: []desired.Digest{theirs, desired.Sum([]byte("nobody's")), mine}}})
	for i, want := range []string{"", "", "mine"} {
		c := a.next("an answer", func(m wire.Message) bool { return m.Content != nil }).Content
		if string(c.Data) != want || (c.Missing == "") != (want != "") {
			t.Errorf("answer %d: %q, missing %q", i, c.Data, c.Missing)
		}
	}
}

func TestWhoIsRefusedHearsWhyAndIsNotLinked(t *testing.T) {
	h := newHub(t, time.Hour)
	h.records.refuse("revoked", "Revoked")
	for name, tt := range map[string]struct {
		certificate string
		hello       wire.Hello
		want        string
	}{
		"another's name":               {"mallory", wire.Hello{Cluster: "a"}, "WrongCluster"},
		"a revoked agent":              {"revoked", wire.Hello{Cluster: "revoked"}, "Revoked"},
		"one too new":                  {"a", wire.Hello{Cluster: "a", MinVersion: 90, MaxVersion: 99}, "VersionSkew"},
		"one that obeyed a later term": {"a", wire.Hello{Cluster: "a", Seen: wire.Stamp{Incarnation: "one", Term: 4}}, "NotLeader"},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.dial(tt.certificate, tt.hello).listen()
			m := a.next("a refusal", func(m wire.Message) bool { return m.Refusal != nil })
			if m.Refusal.Reason != tt.want {
				t.Errorf("refused for %+v, want %s", m.Refusal, tt.want)
			}
			a.link.Close(nil) // as an agent does that has read why
			if h.gateway.Refusal(tt.certificate) == "" {
				t.Error("nobody can learn why")
			}
			if got := h.gateway.Connection(tt.certificate); got != v1alpha1.Pending {
				t.Errorf("it counts as %s", got)
			}
		})
	}
	if why := h.gateway.Refusal("mallory"); why == "" {
		t.Error("the refusal is not noted under the certificate's name")
	}
	h.connect("a", wire.Hello{Seen: wire.Stamp{Incarnation: "another", Term: 99}})
	h.eventually("the refusal is forgotten", func() bool { return h.gateway.Refusal("a") == "" })
}

func TestAFirstMessageThatIsNoHelloEndsTheLink(t *testing.T) {
	h := newHub(t, time.Hour)
	a := h.dial("a", wire.Hello{Cluster: "a"})
	a.listen().next("a welcome", func(m wire.Message) bool { return m.Welcome != nil })
	b := h.connect("b", wire.Hello{})
	b.say(wire.Message{Hello: &wire.Hello{Cluster: "a"}}) // a second hello changes nothing
	h.eventually("both are linked", func() bool {
		return h.gateway.Connection("a") == v1alpha1.Connected && h.gateway.Connection("b") == v1alpha1.Connected
	})
}

func TestAnOlderLinkIsReplacedAndItsEndDisconnectsNobody(t *testing.T) {
	h := newHub(t, time.Hour)
	h.book.MarkComplete()
	for range 20 {
		old := h.connect("a", wire.Hello{})
		h.connect("a", wire.Hello{})
		old.ends("replaced")
	}
	if got := h.gateway.Connection("a"); got != v1alpha1.Connected {
		t.Errorf("the cluster is %s", got)
	}
}

func TestAClosedLinkIsADisconnectedCluster(t *testing.T) {
	h := newHub(t, time.Hour)
	a := h.connect("a", wire.Hello{})
	a.link.Close(nil)
	h.eventually("disconnected", func() bool { return h.gateway.Connection("a") == v1alpha1.Disconnected })
	if _, err := h.gateway.Dial(t.Context(), "a", wire.StreamHeader{Kind: wire.StreamHTTP}); !errors.Is(err, gateway.ErrNotConnected) {
		t.Errorf("dialled: %v", err)
	}
}

func TestARemovedClusterIsExpelledEvenWhileItIsLetIn(t *testing.T) {
	h := newHub(t, time.Hour)
	a := h.connect("a", wire.Hello{})
	h.gateway.Expel("a")
	a.ends("expelled")

	pause := make(chan struct{})
	h.records.mu.Lock()
	h.records.pause["b"] = pause
	h.records.mu.Unlock()
	b := h.dial("b", wire.Hello{Cluster: "b"}).listen()
	h.eventually("b is admitted and not yet linked", func() bool {
		h.records.mu.Lock()
		defer h.records.mu.Unlock()
		return h.records.admitted == 2
	})
	h.records.refuse("b", "Revoked")
	h.gateway.Expel("b")
	close(pause)
	b.next("a refusal", func(m wire.Message) bool { return m.Refusal != nil && m.Refusal.Reason == "Revoked" })
}

func TestALinkThatWouldNotBeLetInAgainIsClosed(t *testing.T) {
	h := newHub(t, time.Hour)
	a, b := h.connect("a", wire.Hello{}), h.connect("b", wire.Hello{})
	h.records.refuse("a", "Revoked")
	h.records.refuse("b", "Busy")
	h.gateway.Recheck(t.Context(), "a")
	h.gateway.Recheck(t.Context(), "b")
	h.gateway.Recheck(t.Context(), "nobody")
	a.ends("no longer enrolled")
	if got := h.gateway.Connection("b"); got != v1alpha1.Connected {
		t.Errorf("records that cannot be read made b %s", got)
	}
	_ = b
}

func TestAPersonsWordReachesTheAgentByANewWelcome(t *testing.T) {
	h := newHub(t, time.Hour)
	a := h.connect("a", wire.Hello{})
	h.gateway.Accept("a", "another") // not this hub
	h.records.mu.Lock()
	h.records.accepted["a"] = stamp.Incarnation
	h.records.mu.Unlock()
	if got := h.gateway.Connection("a"); got != v1alpha1.Connected {
		t.Fatalf("a word for another hub made it %s", got)
	}
	h.gateway.Accept("a", stamp.Incarnation)
	a.ends("accepted")
	b := h.dial("a", wire.Hello{Cluster: "a"}).listen()
	if m := b.next("a welcome", func(m wire.Message) bool { return m.Welcome != nil }); m.Welcome.Accepted != stamp.Incarnation {
		t.Errorf("welcomed with %+v", m.Welcome)
	}
	h.gateway.Accept("a", stamp.Incarnation) // it knows
	b.say(wire.Message{Report: &wire.Report{Report: whole(well("x"))}})
	if got := <-h.heard; got != "a" {
		t.Errorf("the new link does not serve: %q", got)
	}
}

func TestASlowAgentDelaysNobodyElse(t *testing.T) {
	h := newHub(t, time.Hour)
	big := h.shelf.put(bytes.Repeat([]byte("x"), 16<<20))
	e := entry("x", 1)
	e.Content = big
	h.book.Set(e.Key, map[string]desired.Entry{"slow": e, "quick": e})
	h.book.MarkComplete()
	slow := h.dial("slow", wire.Hello{Cluster: "slow"}) // never reads
	slow.say(wire.Message{Want: &wire.Want{Contents: []desired.Digest{big, big, big}}})
	quick := h.connect("quick", wire.Hello{})
	quick.take()
	for i := range int64(50) {
		h.book.Set(key("y"), map[string]desired.Entry{"slow": entry("y", i+1), "quick": entry("y", i+1)})
		quick.take()
	}
}

func TestAStreamReachesTheAgentUnderTheHubsStamp(t *testing.T) {
	h := newHub(t, time.Hour)
	a := h.connect("a", wire.Hello{})
	go func() {
		conn, err := a.link.Listener().Accept()
		if err == nil {
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	stream, err := h.gateway.Dial(t.Context(), "a", wire.StreamHeader{Kind: wire.StreamHTTP, User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if got, err := io.ReadAll(stream); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
}
