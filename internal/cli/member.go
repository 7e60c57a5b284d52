package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// BuiltInKubectl is the hidden verb that a program with kubectl inside adds.
const BuiltInKubectl = "built-in-kubectl"

func newKubectl(c *console) *cobra.Command {
	cluster := ""
	cmd := &cobra.Command{
		Use:   "kubectl [-C CLUSTER] -- ARGS",
		Short: "Run kubectl against the hub, or against a cluster through it",
		Long: `Run kubectl as yourself, and pass its exit code on: with -C against a cluster,
through the hub and its agent; without, against the hub, or against whatever
cluster --kubeconfig is of. Where kubectl is not installed, the one inside this
program is run.`,
		Example: `  atoll kubectl -C us-east-1 -- get pods -A
  atoll kubectl -C us-east-1 -- logs -n shop deploy/web
  atoll kubectl -- get clusters.atoll.dev
  atoll kubectl --kubeconfig us-east-1.kubeconfig -- get nodes`,
		Args: someArgs("arguments for kubectl after --"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.kubectl(cmd, cluster, args)
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

func (c *console) kubectl(cmd *cobra.Command, cluster string, args []string) error {
	program, err := kubectlProgram(cmd.Root())
	if err != nil {
		return wrong("kubectl is not installed; `atoll kubeconfig` serves any other client")
	}
	ctx := cmd.Context()
	data, err := c.memberKubeconfig(ctx, cluster)
	if err != nil {
		return err
	}
	if cluster != "" {
		if err := c.reachable(ctx, cluster); err != nil {
			return err
		}
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
	child := exec.CommandContext(ctx, program[0], append(program[1:], args...)...)
	child.Env = append(os.Environ(), "KUBECONFIG="+path)
	child.Stdin, child.Stdout, child.Stderr = c.raw.In, c.raw.Out, c.raw.Err
	// The terminal interrupts the child too, which ends as it sees fit.
	child.Cancel = func() error { return child.Process.Signal(os.Interrupt) }
	err = child.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return &codedError{code: exit.ExitCode()}
	}
	return err
}

// reachTimeout is for a link that is slow, not for one that is dead.
const reachTimeout = 15 * time.Second

// reachable asks before kubectl does, which would say several times, and in its
// own words, that a cluster has no link. What else may be wrong is left to it.
func (c *console) reachable(ctx context.Context, cluster string) error {
	h, err := c.connect()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	err = h.fleet.Reach(limited, cluster)
	switch {
	case apierrors.IsServiceUnavailable(err):
		return wrong("%v", err)
	case limited.Err() != nil && ctx.Err() == nil:
		return wrong("cluster %s did not answer through its agent within %s; see: atoll describe cluster %s", cluster, reachTimeout, cluster)
	}
	return nil
}

// kubectlProgram prefers the installed kubectl, which has the user's plugins.
func kubectlProgram(root *cobra.Command) ([]string, error) {
	installed, err := exec.LookPath("kubectl")
	if err == nil {
		return []string{installed}, nil
	}
	for _, verb := range root.Commands() {
		if verb.Name() == BuiltInKubectl {
			self, err := os.Executable()
			return []string{self, BuiltInKubectl}, err
		}
	}
	return nil, err
}
