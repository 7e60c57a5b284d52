package agent

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/version"
)

// proxyVariable is --proxy for an agent whose arguments are somebody else's.
// HTTPS_PROXY, as everywhere, is not for hubs on this machine.
const proxyVariable = "ATOLL_PROXY"

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
	var kubeconfig, bootstrap, proxy, probes string
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
			if proxy == "" {
				proxy = os.Getenv(proxyVariable)
			}
			through, err := parseProxy(proxy)
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
			health := &Health{}
			if probes != "" {
				health.Serve(ctx, probes, log)
			}
			return Run(ctx, Options{Config: cfg, Bootstrap: b, Proxy: through, Version: version.Version, Log: log, Health: health})
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the cluster; default: the one the agent runs in")
	cmd.Flags().StringVar(&bootstrap, "bootstrap", mounted(join.BootstrapDir), "file, or directory with a file per key, that `atoll join` made")
	cmd.Flags().StringVar(&proxy, "proxy", "", "HTTP proxy by which to dial the hub, such as http://proxy:3128; default: ATOLL_PROXY, or HTTPS_PROXY, which is for hubs on other machines only")
	cmd.Flags().StringVar(&probes, "health-listen", "", "address on which to answer a pod's probes (/healthz, /readyz), such as :8080; default: none")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}

// parseProxy gives nil for "".
func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	proxy, err := url.Parse(text)
	if err != nil || proxy.Host == "" || proxy.Scheme != "http" && proxy.Scheme != "https" {
		return nil, fmt.Errorf("--proxy must be a URL such as http://proxy:3128")
	}
	return proxy, nil
}

func memberConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := inCluster()
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
func readBootstrap(path string) (join.Ticket, error) {
	info, err := os.Stat(path)
	if err != nil {
		return join.Ticket{}, fmt.Errorf("read the bootstrap: %w", err)
	}
	if info.IsDir() {
		return join.TicketFrom(func(key string) ([]byte, error) { return os.ReadFile(filepath.Join(path, key)) })
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return join.Ticket{}, fmt.Errorf("read the bootstrap: %w", err)
	}
	return join.ParseTicket(data)
}
