package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/sandbox/realnode"
)

// ProgramsVariable names the folder of a real node's programs, where it is not
// the folder node beside atoll-sandbox.
const ProgramsVariable = "ATOLL_SANDBOX_NODE_BIN"

// Components are those that the cluster has, in the order in which they start.
func (c *Cluster) Components() []string {
	other := Node
	if c.state.Spec.RealNodes {
		other = Kwok
	}
	return slices.DeleteFunc(slices.Clone(Components), func(name string) bool { return name == other })
}

// NodeName is the name of node n of a cluster, counted from 0.
func NodeName(spec ClusterSpec, n int) string { return fmt.Sprintf("%s-%d", spec.Name, n+1) }

// CheckRealNodes says why this machine can have no real nodes, with what to do
// about it, or nil.
func CheckRealNodes() error {
	dir, err := NodePrograms()
	if err != nil {
		return err
	}
	return realnode.Check(dir)
}

// NodePrograms is the folder of a real node's programs.
func NodePrograms() (string, error) {
	if dir := os.Getenv(ProgramsVariable); dir != "" {
		return filepath.Abs(dir)
	}
	binary, err := findBinary()
	return filepath.Join(filepath.Dir(binary), "node"), err
}

func (c *Cluster) nodeArguments() []string {
	return []string{"--kubeconfig=" + c.path(insideKubeconfig), "--state=" + c.path("state.json")}
}

// towardsNode is how the API server finds its way into the network of a real
// node: to the kubelet, to pods and to Services.
func (c *Cluster) towardsNode() []string {
	if !c.state.Spec.RealNodes {
		return nil
	}
	return []string{"--egress-selector-config-file=" + c.path("egress.yaml")}
}

func (c *Cluster) writeEgress() error {
	if !c.state.Spec.RealNodes {
		return nil
	}
	return os.WriteFile(c.path("egress.yaml"), fmt.Appendf(nil, `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport:
      tcp:
        url: https://127.0.0.1:%d
        tlsConfig:
          caBundle: %s
          clientCert: %s
          clientKey: %s
`, c.state.Ports.Kubelet, c.pki("ca.crt"), c.pki(realnode.APIServerClient+".crt"), c.pki(realnode.APIServerClient+".key")), 0o600)
}

// forgetNode removes what of a real node outlasts its processes, which have
// been ended.
func (c *Cluster) forgetNode() error {
	if !c.state.Spec.RealNodes {
		return nil
	}
	if err := realnode.CgroupOf(c.dir).Remove(); err != nil {
		return fmt.Errorf("cluster %s: %w", c.Name(), err)
	}
	return nil
}

// NodeNetwork is where the addresses of a real node and the ends of its relays
// are.
func (s State) NodeNetwork() realnode.Network {
	return realnode.Network{
		PodCIDR: s.PodCIDR(), ServiceCIDR: s.ServiceCIDR(),
		NodeIP: s.realNodeIP(), MachineIP: s.MachineIP(), FirstPodIP: s.podIP(16),
		APIServer: s.Ports.APIServer, Inward: s.Ports.Kubelet, Proxy: s.Ports.Proxy,
	}
}

func (s State) realNodeIP() string { return s.podIP(1) }

// MachineIP is where the pods of a real node reach 127.0.0.1 of the machine, at
// the same port, through the cluster's edge.
func (s State) MachineIP() string { return s.podIP(2) }

// podIP is the nth address of the range for pods.
func (s State) podIP(n int) string {
	address := netip.MustParsePrefix(s.PodCIDR()).Addr()
	for range n {
		address = address.Next()
	}
	return address.String()
}

// LoadImage gives the real node of a cluster the images of an OCI archive.
// Nothing is ever pulled: an image that was not loaded is not there.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	node, recorded := c.process(Node)
	if !recorded || !node.Alive() {
		return fmt.Errorf("cluster %s has no real node that runs: bring it up with --real-nodes", c.Name())
	}
	programs, err := NodePrograms()
	if err != nil {
		return err
	}
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("load an image into cluster %s: %w", c.Name(), err)
	}
	defer file.Close()
	socket := filepath.Join("/proc", fmt.Sprint(node.PID), "root", realnode.Socket)
	cmd := realnode.ImportCommand(ctx, programs, socket)
	cmd.Stdin = file
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("load %s into cluster %s: %w: %s", archive, c.Name(), errors.Join(err, ctx.Err()), strings.TrimSpace(string(out)))
	}
	return nil
}
