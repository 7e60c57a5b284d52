package command

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/sandbox"
)

type upFlags struct {
	clusters []string
	nodes    int
	labels   []string
	file     string
	real     bool
}

func newUp(o *options) *cobra.Command {
	var flags upFlags
	cmd := &cobra.Command{
		Use:   "up --clusters a,b,c | -f fleet.yaml",
		Short: "Bring clusters up, and wait until they are ready",
		Long: "Bring clusters up, and wait until they are ready. A cluster that runs is left as it is; what has died is started again.\n" +
			"A name that is a region of EKS, GKE or AKS, such as us-east-1, europe-west1 or southeastasia, gives its nodes that provider's labels.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			specs, err := flags.specs()
			if err != nil {
				return err
			}
			if err := checkRealNodes(specs); err != nil {
				return err
			}
			began := time.Now()
			if err := o.fleet().Up(cmd.Context(), specs); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d clusters ready after %.1fs\n", len(specs), time.Since(began).Seconds())
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&flags.clusters, "clusters", nil, "names of the clusters, separated by commas")
	cmd.Flags().IntVar(&flags.nodes, "nodes", 0, fmt.Sprintf("nodes of each cluster (default %d)", sandbox.DefaultNodes))
	cmd.Flags().StringArrayVar(&flags.labels, "label", nil, "label of each node, as key=value; may be repeated")
	realNodesFlag(cmd, &flags.real)
	cmd.Flags().StringVarP(&flags.file, "file", "f", "", "fleet file: a list of clusters with name, nodes, provider, region, zones, labels")
	return cmd
}

// specs joins the fleet file with the flags, which win.
func (f upFlags) specs() ([]sandbox.ClusterSpec, error) {
	var specs []sandbox.ClusterSpec
	if f.file != "" {
		data, err := os.ReadFile(f.file)
		if err != nil {
			return nil, fmt.Errorf("read fleet file: %w", err)
		}
		if specs, err = parseFleet(data); err != nil {
			return nil, usagef("fleet file %s: %w", f.file, err)
		}
	}
	for _, name := range f.clusters {
		specs = append(specs, sandbox.ClusterSpec{Name: strings.TrimSpace(name)})
	}
	if len(specs) == 0 {
		return nil, usagef("name the clusters with --clusters a,b,c or -f fleet.yaml")
	}
	labels, err := parseLabels(f.labels)
	if err != nil {
		return nil, err
	}
	for i := range specs {
		if f.nodes != 0 {
			specs[i].Nodes = f.nodes
		}
		specs[i].RealNodes = specs[i].RealNodes || f.real
		if len(labels) > 0 {
			specs[i].NodeLabels = merged(specs[i].NodeLabels, labels)
		}
		if err := specs[i].Validate(); err != nil {
			return nil, usageError{err}
		}
	}
	return specs, nil
}
