package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"atoll.dev/atoll/internal/fleet"
)

func newKubeconfig(c *console) *cobra.Command {
	cluster := ""
	cmd := &cobra.Command{
		Use:   "kubeconfig [-C CLUSTER]",
		Short: "A kubeconfig of the hub, or of a cluster reached through the hub",
		Long: `Print a kubeconfig with your own credentials. With -C it reaches that cluster
through the hub and its agent, as you: the cluster knows you as atoll:NAME and you
may do there what it grants to that name.`,
		Example: `  atoll kubeconfig -C us-east-1 > us-east-1.kubeconfig
  kubectl --kubeconfig us-east-1.kubeconfig get pods -A
  atoll kubeconfig > hub.kubeconfig`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := c.memberKubeconfig(cmd.Context(), cluster)
			if err != nil {
				return err
			}
			_, err = c.Out.Write(data)
			return err
		},
	}
	cmd.Flags().StringVarP(&cluster, "cluster", "C", "", "the cluster to reach through the hub")
	_ = cmd.RegisterFlagCompletionFunc("cluster", c.completeNames(clusterKind))
	return cmd
}

func newKubectl(c *console) *cobra.Command {
	cluster := ""
	cmd := &cobra.Command{
		Use:   "kubectl -C CLUSTER -- ARGS",
		Short: "Run kubectl against a cluster, through the hub",
		Long: `Run kubectl against a cluster through the hub and its agent, as yourself. Its exit
code is passed on. kubectl must be installed.`,
		Example: `  atoll kubectl -C us-east-1 -- get pods -A
  atoll kubectl -C us-east-1 -- logs -n shop deploy/web`,
		Args: someArgs("arguments for kubectl after --"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.kubectl(cmd.Context(), cluster, args)
		},
	}
	cmd.Flags().StringVarP(&cluster, "cluster", "C", "", "the cluster to reach through the hub")
	_ = cmd.RegisterFlagCompletionFunc("cluster", c.completeNames(clusterKind))
	return cmd
}

// memberKubeconfig points the caller's own kubeconfig at the cluster's proxy.
func (c *console) memberKubeconfig(ctx context.Context, cluster string) ([]byte, error) {
	h, err := c.connect()
	if err != nil {
		return nil, err
	}
	if _, err := h.knownCluster(ctx, cluster); err != nil {
		return nil, err
	}
	loader, err := c.loader()
	if err != nil {
		return nil, err
	}
	config, err := loader.RawConfig()
	if err != nil {
		return nil, wrong("read the kubeconfig: %v", err)
	}
	if c.context != "" {
		config.CurrentContext = c.context
	}
	if err := selfContained(&config); err != nil {
		return nil, wrong("read the kubeconfig: %v", err)
	}
	if cluster != "" {
		redirect(&config, cluster)
	}
	data, err := clientcmd.Write(config)
	if err != nil {
		return nil, fmt.Errorf("encode the kubeconfig of %s: %w", cluster, err)
	}
	return data, nil
}

// redirect names everything after the cluster, so that merged kubeconfigs do
// not collide.
func redirect(config *clientcmdapi.Config, cluster string) {
	current := config.Contexts[config.CurrentContext]
	target, user := config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo]
	target.Server += fleet.Path + "/clusters/" + cluster + "/proxy"
	name := "atoll-" + cluster
	config.Clusters = map[string]*clientcmdapi.Cluster{name: target}
	config.AuthInfos = map[string]*clientcmdapi.AuthInfo{name: user}
	config.Contexts = map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}}
	config.CurrentContext = name
}

func (c *console) kubectl(ctx context.Context, cluster string, args []string) error {
	if cluster == "" {
		return wrong("say which cluster with -C NAME")
	}
	program, err := exec.LookPath("kubectl")
	if err != nil {
		return wrong("kubectl is not installed; `atoll kubeconfig -C %s` serves any other client", cluster)
	}
	data, err := c.memberKubeconfig(ctx, cluster)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "atoll-kubectl-")
	if err != nil {
		return fmt.Errorf("make a folder for the kubeconfig: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.In, c.Out, c.Err
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return &codedError{code: exit.ExitCode()}
	}
	return err
}
