package command

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/sandbox/simulate"
	"atoll.dev/atoll/internal/version"
)

func newSimulate(o *options) *cobra.Command {
	s := simulate.Options{}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run a hub with thousands of agents over members in memory, and measure it",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.Agents < 1 || s.Fanout < 1 || s.Apps < 1 || s.InFlight < 1 || s.Changes < 1 {
				return usagef("--agents, --apps, --fanout, --in-flight and --changes are at least 1")
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the hub's program: %w", err)
			}
			s.Hub, s.Version = filepath.Join(filepath.Dir(self), "atoll"), version.Version
			if s.Dir, err = os.MkdirTemp("", "atoll-simulate-"); err != nil {
				return fmt.Errorf("make the hub's directory: %w", err)
			}
			defer os.RemoveAll(s.Dir)
			s.Log = slog.New(slog.NewTextHandler(o.words, &slog.HandlerOptions{Level: slog.LevelError}))
			s.Progress = func(format string, args ...any) { fmt.Fprintf(o.words, format+"\n", args...) }
			result, err := simulate.Run(cmd.Context(), s)
			if err != nil {
				return err
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(result)
		},
	}
	f := cmd.Flags()
	f.IntVar(&s.Agents, "agents", 100, "how many clusters")
	f.IntVar(&s.Apps, "apps", 100, "how many applications")
	f.IntVar(&s.Fanout, "fanout", 10, "on how many clusters each application is placed")
	f.IntVar(&s.InFlight, "in-flight", 8, "how many applications may be created and not yet ready at a time")
	f.IntVar(&s.Changes, "changes", 20, "how many times one application is changed")
	f.BoolVar(&s.Light, "light", false, "agents that are linked and nothing else, to see many of them idle; no application is made")
	f.IntVar(&s.Nodes, "nodes", 3, "nodes of each cluster")
	f.StringVar(&s.Profiles, "profile", "", "folder for the hub's CPU and heap profiles of each phase")
	f.DurationVar(&s.Idle, "idle", 20*time.Second, "how long nothing is done, to see what that costs")
	return cmd
}
