package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/sandbox"
)

// listed is one cluster as `list -o json` prints it.
type listed struct {
	Name        string            `json:"name"`
	Status      sandbox.Status    `json:"status"`
	Provider    sandbox.Provider  `json:"provider"`
	Region      string            `json:"region"`
	Zones       []string          `json:"zones"`
	Nodes       int               `json:"nodes"`
	NodeLabels  map[string]string `json:"nodeLabels,omitempty"`
	Server      string            `json:"server"`
	Kubeconfig  string            `json:"kubeconfig"`
	PodCIDR     string            `json:"podCIDR"`
	ServiceCIDR string            `json:"serviceCIDR"`
	Created     time.Time         `json:"created"`
	Components  []component       `json:"components"`
	Faults      []sandbox.Fault   `json:"faults,omitempty"`
}

type component struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
	PID     int    `json:"pid,omitempty"`
}

func newList(o *options) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the clusters and what of them runs",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "table" && format != "json" {
				return usagef("output %q must be table or json", format)
			}
			clusters, err := o.fleet().Clusters()
			if err != nil {
				return err
			}
			items := []listed{}
			for _, c := range clusters {
				items = append(items, describe(c))
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), items)
			}
			return printTable(cmd.OutOrStdout(), items)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return cmd
}

func describe(c *sandbox.Cluster) listed {
	state := c.State()
	item := listed{
		Name: c.Name(), Status: c.Status(),
		Provider: state.Spec.Provider, Region: state.Spec.Region, Zones: state.Spec.Zones,
		Nodes: state.Spec.Nodes, NodeLabels: state.Spec.NodeLabels,
		Server: state.OutsideServer(), Kubeconfig: c.KubeconfigPath(),
		PodCIDR: state.PodCIDR(), ServiceCIDR: state.ServiceCIDR(), Created: state.Created,
		Faults: c.Faults(),
	}
	for _, name := range c.Components() {
		part := component{Name: name, Running: c.Running(name)}
		if part.Running {
			part.PID = state.Processes[name].PID
		}
		item.Components = append(item.Components, part)
	}
	return item
}

func printJSON(out io.Writer, items []listed) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(items)
}

func printTable(out io.Writer, items []listed) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATUS\tPROVIDER\tREGION\tNODES\tSERVER\tFAULTS")
	for _, i := range items {
		faults := make([]string, 0, len(i.Faults))
		for _, f := range i.Faults {
			faults = append(faults, f.String())
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", i.Name, i.Status, i.Provider, i.Region, i.Nodes, i.Server, orNone(faults))
	}
	return table.Flush()
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}
