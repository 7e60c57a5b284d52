package command

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/internal/sandbox"
)

// onCluster is a command that does one thing to one cluster.
func onCluster(o *options, use, short string, do func(context.Context, *sandbox.Cluster) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  oneCluster,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.fleet().Cluster(args[0])
			if err != nil {
				return err
			}
			return do(cmd.Context(), c)
		},
	}
}

// lasting adds --for to a command and gives the time at which it ends.
func lasting(cmd *cobra.Command) func() (time.Time, error) {
	d := cmd.Flags().Duration("for", 0, "end by itself after this time, such as 30s; default: never")
	return func() (time.Time, error) {
		if cmd.Flags().Changed("for") && *d <= 0 {
			return time.Time{}, usagef("--for %s must be longer than nothing, such as 30s", *d)
		}
		return sandbox.For(*d), nil
	}
}

// injecting is a command that puts a fault in force.
func injecting(o *options, use, short string, fault func() (sandbox.Fault, error)) *cobra.Command {
	var until func() (time.Time, error)
	cmd := onCluster(o, use, short, func(ctx context.Context, c *sandbox.Cluster) error {
		f, err := fault()
		if err != nil {
			return err
		}
		if f.Until, err = until(); err != nil {
			return err
		}
		return c.Inject(ctx, f)
	})
	until = lasting(cmd)
	return cmd
}

func newKill(o *options) *cobra.Command {
	var api, all bool
	var components []string
	cmd := injecting(o, "kill NAME", "End a cluster's processes as a power cut would; start brings them back", func() (sandbox.Fault, error) {
		victims := components
		if api {
			victims = append(victims, sandbox.APIServer)
		}
		if all && len(victims) > 0 {
			return sandbox.Fault{}, usagef("--all ends everything: leave out --api and --component")
		}
		return sandbox.Fault{Kind: sandbox.Killed, Components: victims}, nil
	})
	cmd.Flags().BoolVar(&api, "api", false, "end only its API server: what runs goes on")
	cmd.Flags().BoolVar(&all, "all", false, "end everything; the default")
	cmd.Flags().StringSliceVar(&components, "component", nil, "end only these components")
	return cmd
}

func newClock(o *options) *cobra.Command {
	var skew time.Duration
	cmd := injecting(o, "clock NAME --skew +10m", "Set the clocks of a cluster's agents wrong; heal sets them right", func() (sandbox.Fault, error) {
		return sandbox.Fault{Kind: sandbox.Skewed, Skew: metav1.Duration{Duration: skew}}, nil
	})
	cmd.Flags().DurationVar(&skew, "skew", 0, "by how much they are ahead, such as +10m, or -10m for behind")
	return cmd
}

func newPause(o *options) *cobra.Command {
	var components []string
	cmd := injecting(o, "pause NAME", "Freeze a cluster's processes where they are; resume lets them go on", func() (sandbox.Fault, error) {
		return sandbox.Fault{Kind: sandbox.Paused, Components: components}, nil
	})
	cmd.Flags().StringSliceVar(&components, "component", nil, "freeze only these components")
	return cmd
}

func newResume(o *options) *cobra.Command {
	return onCluster(o, "resume NAME", "Let a paused cluster go on", func(ctx context.Context, c *sandbox.Cluster) error { return c.Resume(ctx) })
}

func newPartition(o *options) *cobra.Command {
	var from string
	var reset bool
	cmd := injecting(o, "partition NAME", "Cut a cluster off: what is established freezes, what is new hangs", func() (sandbox.Fault, error) {
		switch sandbox.From(from) {
		case sandbox.FromHub, sandbox.FromOutside, sandbox.FromBoth:
			return sandbox.Fault{Kind: sandbox.Partitioned, From: sandbox.From(from), Reset: reset}, nil
		}
		return sandbox.Fault{}, usagef("--from %q must be hub, outside or both", from)
	})
	cmd.Flags().StringVar(&from, "from", string(sandbox.FromBoth), "hub (what dials out, as the agent does), outside (what dials its API) or both")
	cmd.Flags().BoolVar(&reset, "reset", false, "reject as a firewall does instead of swallowing")
	return cmd
}

func newSlow(o *options) *cobra.Command {
	var latency, jitter time.Duration
	var bandwidth string
	cmd := injecting(o, "slow NAME", "Slow a cluster's network down, both what dials in and what dials out", func() (sandbox.Fault, error) {
		f := sandbox.Fault{Kind: sandbox.Slowed, Latency: metav1.Duration{Duration: latency}, Jitter: metav1.Duration{Duration: jitter}}
		var err error
		if f.Bandwidth, err = parseBandwidth(bandwidth); err != nil {
			return f, err
		}
		if latency < 0 || jitter < 0 || latency+jitter == 0 && f.Bandwidth == 0 {
			return f, usagef("say how slow: --latency 200ms, --jitter 50ms or --bandwidth 1Mbit")
		}
		return f, nil
	})
	cmd.Flags().DurationVar(&latency, "latency", 0, "added to each round trip, half each way")
	cmd.Flags().DurationVar(&jitter, "jitter", 0, "added at random between none and all of it")
	cmd.Flags().StringVar(&bandwidth, "bandwidth", "", "of each connection each way, such as 1Mbit")
	return cmd
}

var (
	bandwidthForm  = regexp.MustCompile(`^([1-9][0-9]{0,5})(kbit|Mbit|Gbit)$`)
	bandwidthUnits = map[string]int64{"kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9}
)

// parseBandwidth gives bits a second; 0 for "".
func parseBandwidth(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	parts := bandwidthForm.FindStringSubmatch(text)
	if parts == nil {
		return 0, usagef("--bandwidth %q must be a number with kbit, Mbit or Gbit, such as 1Mbit", text)
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	return n * bandwidthUnits[parts[2]], err
}

func newHeal(o *options) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "heal NAME | --all",
		Short: "End partitions and slowness",
		RunE: func(cmd *cobra.Command, args []string) error {
			clusters, err := chosen(o.fleet(), args, all)
			if err != nil {
				return err
			}
			for _, c := range clusters {
				if err := c.Heal(cmd.Context()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every cluster")
	return cmd
}

func chosen(fleet *sandbox.Fleet, names []string, all bool) ([]*sandbox.Cluster, error) {
	switch {
	case all && len(names) == 0:
		return fleet.Clusters()
	case all || len(names) != 1:
		return nil, usagef("heal takes the name of one cluster, or --all")
	}
	c, err := fleet.Cluster(names[0])
	return []*sandbox.Cluster{c}, err
}

func newFaults(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "faults",
		Short: "List what is wrong with the clusters on purpose",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			clusters, err := o.fleet().Clusters()
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(table, "CLUSTER\tFAULT\tSINCE")
			for _, c := range clusters {
				for _, f := range c.Faults() {
					fmt.Fprintf(table, "%s\t%s\t%s\n", c.Name(), f, f.Since.Local().Format(time.TimeOnly))
				}
			}
			return table.Flush()
		},
	}
}
