package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox"
)

func TestAnOutageOfTheMemberIsSaidAndRecovered(t *testing.T) {
	fleet := sandbox.Start(t, "faulty")
	cluster := fleet.Cluster("faulty")
	cfg, err := cluster.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOn(t, cfg)
	w.deploy("shop", configMap("settings", "color", "blue"))
	w.state("shop", "well", report.State.Well)
	if err := cluster.Kill(sandbox.APIServer); err != nil {
		t.Fatal(err)
	}
	w.deploy("shop", configMap("settings", "color", "red"))
	w.state("shop", "unreachable", func(s report.State) bool {
		return strings.HasPrefix(s.Message, "member API unreachable since") && s.Sync != report.InSync
	})
	if err := cluster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.synced("shop")
	if got := field(w.get(configs, "settings"), "data", "color"); got != "red" {
		t.Errorf("color %q", got)
	}
	w.edit(configs, "settings", `{"data":{"color":"green"}}`)
	w.eventually("its watches are back", func() bool { return field(w.get(configs, "settings"), "data", "color") == "red" })
}

func TestHealthIsUnknownInALongOutage(t *testing.T) {
	w := newWorld(t)
	w.halt()
	var ahead atomic.Int64
	w.clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w.start()
	w.deploy("shop", configMap("settings", "color", "blue"))
	w.state("shop", "well", report.State.Well)
	w.engine.reach.lost()
	ahead.Store(int64(time.Hour))
	if s := w.engine.States()[w.key("shop")]; s.Health != report.HealthUnknown || s.Sync != report.InSync {
		t.Error(describeState(s))
	}
}

func TestALongOutageIsReportedThoughNothingElseHappens(t *testing.T) {
	fleet := sandbox.Start(t, "quiet")
	cluster := fleet.Cluster("quiet")
	cfg, err := cluster.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64
	w := newWorldOn(t, cfg)
	w.halt()
	w.clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w.start()
	w.deploy("shop", configMap("settings", "color", "blue"))
	w.state("shop", "well", report.State.Well)
	if err := cluster.Kill(sandbox.APIServer); err != nil {
		t.Fatal(err)
	}
	w.state("shop", "unreachable", func(s report.State) bool { return s.Message != "" })
	for len(w.engine.Changed()) > 0 {
		<-w.engine.Changed()
	}
	ahead.Store(int64(time.Hour))
	select {
	case <-w.engine.Changed():
	case <-time.After(time.Minute):
		t.Fatal("nobody is told that health is unknown by now")
	}
	if s := w.engine.States()[w.key("shop")]; s.Health != report.HealthUnknown {
		t.Error(describeState(s))
	}
}

// TestTwoThousandObjectsAndAnAgentThatDiesOnTheWay kills the engine in the
// middle: nothing is lost, doubled or deleted.
func TestTwoThousandObjectsAndAnAgentThatDiesOnTheWay(t *testing.T) {
	w := newWorld(t)
	var all strings.Builder
	const n = 2000
	for i := range n {
		all.WriteString(configMap(fmt.Sprintf("c%04d", i), "k", "v"))
	}
	w.deploy("big", all.String())
	w.state("big", "half way", func(s report.State) bool { return s.Applied > n/4 })
	w.halt()
	w.memory = &Volatile{} // what it knew last was not even saved
	w.start()
	s := w.synced("big")
	if s.Objects != n || s.Applied != n || s.Ready != n {
		t.Error(describeState(s))
	}
	w.halt()
	w.start()
	w.synced("big")
	w.deploy("big", configMap("c0000", "k", "v"))
	held := w.state("big", "Held", func(s report.State) bool { return s.Sync == report.Held && s.HeldDeletion != "" })
	if len(held.Problems) > report.MaxProblems || len(held.Message) > report.MaxMessage {
		t.Error("the report is too large")
	}
}

// fullMemory refuses to save until it has room.
type fullMemory struct {
	Volatile
	room bool
}

func (m *fullMemory) SaveInventories(ctx context.Context, changed map[desired.Key][]byte) error {
	if !m.room {
		return errors.New("exceeded quota")
	}
	return m.Volatile.SaveInventories(ctx, changed)
}

func TestAFullStoreIsSaidAndStopsNothing(t *testing.T) {
	w := newWorld(t)
	w.halt()
	w.memory = &fullMemory{}
	w.start()
	w.deploy("shop", configMap("settings", "color", "blue"))
	p := w.problem("shop", "StoreFull")
	if !strings.Contains(p.Message, "exceeded quota") {
		t.Errorf("problem: %+v", p)
	}
	if !w.exists(configs, "settings") {
		t.Error("nothing was applied")
	}
}

func TestADeletedNamespaceIsMadeAgainWithAllThatWasInIt(t *testing.T) {
	w := newWorld(t)
	w.deploy("shop", configMap("a", "k", "v")+configMap("b", "k", "v"))
	w.synced("shop")
	before := w.get(configs, "a").GetUID()
	if err := w.client.Resource(namespaces.gvr).Delete(t.Context(), w.project, deleteNow); err != nil {
		t.Fatal(err)
	}
	w.eventually("both are back", func() bool {
		a, err := w.client.Resource(configs).Namespace(w.project).Get(t.Context(), "a", getNow)
		return err == nil && a.GetUID() != before && a.GetDeletionTimestamp() == nil && w.exists(configs, "b")
	})
	w.synced("shop")
}
