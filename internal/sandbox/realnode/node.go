package realnode

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// PauseImage is what holds a pod's namespaces: a program of our own.
const PauseImage = "sandbox.atoll.dev/pause:1"

// Config is one node.
type Config struct {
	// Name is the node's, Labels those that it registers with.
	Name, ProviderID string
	Labels           map[string]string
	// Dir is the cluster's directory. In it are node.kubeconfig and
	// kube-proxy.kubeconfig, and pki with kubelet.crt, kubelet.key and ca.crt.
	Dir string
	// Programs is where kubelet, kube-proxy, containerd and its parts are.
	Programs string
	// PauseArchive is an OCI archive of PauseImage.
	PauseArchive string
	Network      Network
}

// Network is where a node's addresses and the ends of its relays are.
type Network struct {
	// PodCIDR holds the node itself, the machine as pods see it, and the pods;
	// ServiceCIDR the cluster IPs.
	PodCIDR, ServiceCIDR string
	NodeIP, MachineIP    string
	// FirstPodIP is above those two.
	FirstPodIP string
	// APIServer, Inward and Proxy are ports of 127.0.0.1 on the machine: the
	// cluster's API, where the API server asks for connections into the node's
	// network, and the HTTP proxy by which pods reach the machine's loopback.
	APIServer, Inward, Proxy int
}

// APIPort is where the node's address leads to the API server: the endpoint of
// the kubernetes Service.
const APIPort = 6443

// The cluster's directory and the programs as the node sees them, wherever they
// lie on the machine.
const (
	inside   = "/run/atoll/cluster"
	programs = "/run/atoll/bin"
)

// Run is the node until one of its programs fails for good. It must be process 1 of its
// namespace, with mounts of its own; it gives itself a network.
func Run(c Config) error {
	if os.Getpid() != 1 {
		return errors.New("a real node is process 1 of its own namespace: start it with the sandbox")
	}
	// This thread is the node's network, and all programs start from it. It is
	// never unlocked, so no other goroutine ever runs on it.
	runtime.LockOSThread()
	if err := mountAll(c); err != nil {
		return fmt.Errorf("prepare the mounts of node %s: %w", c.Name, err)
	}
	cgroup := CgroupOf(c.Dir)
	if err := cgroup.Create(); err != nil {
		return fmt.Errorf("prepare the cgroups of node %s: %w", c.Name, err)
	}
	netns, err := c.Network.create()
	if err != nil {
		return fmt.Errorf("prepare the network of node %s: %w", c.Name, err)
	}
	if err := c.Network.relay(netns); err != nil {
		return fmt.Errorf("connect node %s: %w", c.Name, err)
	}
	if err := c.writeConfigs(cgroup); err != nil {
		return fmt.Errorf("configure node %s: %w", c.Name, err)
	}
	children := newChildren()
	if err := children.containerd(c); err != nil {
		return err
	}
	for _, p := range []*program{
		{name: "kube-proxy", arguments: []string{"--config=" + configs("kube-proxy.yaml"), "--hostname-override=" + c.Name}},
		{name: "kubelet", arguments: c.kubeletArguments()},
	} {
		if err := children.start(p); err != nil {
			return err
		}
	}
	return children.tend()
}

// ending means that what dies now is not to be started again.
var ending atomic.Bool

// End ends everything of the node but the caller, which is its process 1, and
// removes its cgroups.
func End(clusterDir string) error {
	if os.Getpid() != 1 {
		return errors.New("only the node itself ends what is in it")
	}
	ending.Store(true)
	if err := unix.Kill(-1, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end the processes of the node: %w", err)
	}
	return CgroupOf(clusterDir).Remove()
}

// Namespaces are those, as flags of clone(2), that Run must be started in.
const Namespaces = unix.CLONE_NEWPID | unix.CLONE_NEWNS

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func configs(file string) string { return filepath.Join(inside, "node", file) }
