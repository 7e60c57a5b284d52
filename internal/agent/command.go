package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/version"
)

// Command is the program atoll-agent.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "atoll-agent",
		Short:         "Keep this cluster as its hub says, whether the hub is there or not",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(runCommand())
	return cmd
}

func runCommand() *cobra.Command {
	var kubeconfig, bootstrap string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent until interrupted",
		Long: `Run the agent until interrupted.

Inside a cluster it needs no flags but --bootstrap, which the manifests of
"atoll join -o yaml" set. Outside, --kubeconfig says how it reaches its cluster.`,
		Example: `  atoll-agent run --bootstrap /etc/atoll
  atoll-agent run --kubeconfig member.kubeconfig --bootstrap bootstrap.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			b, err := readBootstrap(bootstrap)
			if err != nil {
				return err
			}
			cfg, err := memberConfig(kubeconfig)
			if err != nil {
				return err
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			return Run(ctx, Options{Config: cfg, Bootstrap: b, Version: version.Version, Log: log})
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the cluster; default: the one the agent runs in")
	cmd.Flags().StringVar(&bootstrap, "bootstrap", "/etc/atoll", "file, or directory with a file per key, that `atoll join` made")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}

func memberConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("this is not inside a cluster; give --kubeconfig: %w", err)
		}
		return cfg, nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	return cfg, nil
}

// readBootstrap reads a YAML file, or a mounted Secret: a directory with one
// file a key.
func readBootstrap(path string) (Bootstrap, error) {
	var b Bootstrap
	info, err := os.Stat(path)
	if err != nil {
		return b, fmt.Errorf("read the bootstrap: %w", err)
	}
	if !info.IsDir() {
		data, err := os.ReadFile(path)
		if err == nil {
			err = yaml.UnmarshalStrict(data, &b)
		}
		if err != nil {
			return b, fmt.Errorf("read bootstrap %s: %w", path, err)
		}
		return b, b.check(path)
	}
	for name, field := range map[string]*string{"cluster": &b.Cluster, "token": &b.Token, "address": &b.Address, "roots": &b.Roots} {
		data, err := os.ReadFile(filepath.Join(path, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return b, fmt.Errorf("read bootstrap %s: %w", path, err)
		}
		*field = string(data)
	}
	return b, b.check(path)
}

func (b Bootstrap) check(path string) error {
	if b.Cluster == "" || b.Address == "" || b.Roots == "" {
		return fmt.Errorf("bootstrap %s must say cluster, address and roots; make it with: atoll join", path)
	}
	return nil
}
