package simulate_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"atoll.dev/atoll/internal/sandbox/simulate"
	"atoll.dev/atoll/internal/version"
)

// TestASmallFleetGoesThroughAllPhases runs the whole with a real hub. What a
// fleet of any size must not cost is asserted; times are not.
func TestASmallFleetGoesThroughAllPhases(t *testing.T) {
	program, err := filepath.Abs("../../../bin/atoll")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("ATOLL_SANDBOX_REQUIRED") != "" {
			t.Fatal("there is no bin/atoll; make it with: make build")
		}
		t.Skip("there is no bin/atoll; make it with: make build")
	}
	const agents, apps, fanout, changes = 12, 6, 4, 3
	result, err := simulate.Run(t.Context(), simulate.Options{
		Agents: agents, Apps: apps, Fanout: fanout, Changes: changes, Nodes: 1, Idle: time.Second,
		Hub: program, Dir: t.TempDir(), Version: version.Version, Log: slog.New(slog.DiscardHandler), Progress: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	applies := map[string]int{}
	for _, p := range result.Phases {
		applies[p.Name] = p.Applies
	}
	for name, want := range map[string]int{"join": 0, "change": changes * fanout, "change-all": changes * agents, "idle": 0, "restart": 0} {
		if got, ran := applies[name]; !ran || got != want {
			t.Errorf("%s: %d applies at the members, want %d", name, got, want)
		}
	}
}
