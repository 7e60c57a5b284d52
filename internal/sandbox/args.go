package sandbox

import (
	"fmt"
	"path/filepath"
)

// The components of a cluster, by the name of the command that each runs.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kwok              = "kwok"
	Node              = "node"
)

// Components is every component, in the order in which they start. A cluster
// has either Kwok, which plays its nodes, or a Node that is real.
var Components = []string{Etcd, APIServer, ControllerManager, Scheduler, Kwok, Node}

// arguments is the command line of a component.
func (c *Cluster) arguments(component string) []string {
	switch component {
	case Etcd:
		return c.etcdArguments()
	case APIServer:
		return c.apiServerArguments()
	case ControllerManager:
		return c.controllerManagerArguments()
	case Scheduler:
		config := c.path("kube-scheduler.kubeconfig")
		return []string{
			"--kubeconfig=" + config,
			"--leader-elect=false",
			"--secure-port=0", // nobody asks it for health or metrics; its pid is watched
			"--profiling=false",
			unthrottled[0], unthrottled[1],
		}
	case Node:
		return c.nodeArguments()
	default:
		return []string{"--kubeconfig=" + c.path("kwok.kubeconfig"), "--state=" + c.path("state.json")}
	}
}

// unthrottled lifts the client-side limit of 20 requests a second, on which
// the controller manager would spend the first five seconds of its life. The
// API server's own fairness protects it.
var unthrottled = [2]string{"--kube-api-qps=1000", "--kube-api-burst=2000"}

func (c *Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.dir}, elements...)...)
}

func (c *Cluster) pki(file string) string { return c.path("pki", file) }

func (c *Cluster) etcdArguments() []string {
	return []string{
		"--data-dir=" + c.path("etcd"),
		fmt.Sprintf("--client-port=%d", c.state.Ports.Etcd),
		fmt.Sprintf("--peer-port=%d", c.state.Ports.EtcdPeer),
		"--cert-file=" + c.pki("etcd.crt"),
		"--key-file=" + c.pki("etcd.key"),
		"--ca-file=" + c.pki("etcd-ca.crt"),
	}
}

func (c *Cluster) apiServerArguments() []string {
	return append([]string{
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", c.state.Ports.APIServer),
		// A loopback address is not a valid endpoint, so the kubernetes
		// Service has none; nothing in the sandbox routes to cluster IPs.
		"--endpoint-reconciler-type=none",
		fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", c.state.Ports.Etcd),
		"--etcd-cafile=" + c.pki("etcd-ca.crt"),
		"--etcd-certfile=" + c.pki("apiserver-etcd-client.crt"),
		"--etcd-keyfile=" + c.pki("apiserver-etcd-client.key"),
		"--tls-cert-file=" + c.pki("apiserver.crt"),
		"--tls-private-key-file=" + c.pki("apiserver.key"),
		"--client-ca-file=" + c.pki("ca.crt"),
		"--kubelet-certificate-authority=" + c.pki("ca.crt"),
		"--kubelet-client-certificate=" + c.pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + c.pki("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + c.pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + c.pki("front-proxy-client.crt"),
		"--proxy-client-key-file=" + c.pki("front-proxy-client.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.pki("sa.pub"),
		"--service-account-signing-key-file=" + c.pki("sa.key"),
		"--service-cluster-ip-range=" + c.state.ServiceCIDR(),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--profiling=false",
	}, c.towardsNode()...)
}

func (c *Cluster) controllerManagerArguments() []string {
	config := c.path("kube-controller-manager.kubeconfig")
	return []string{
		"--kubeconfig=" + config,
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
		unthrottled[0], unthrottled[1],
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + c.pki("sa.key"),
		"--root-ca-file=" + c.pki("ca.crt"),
		"--cluster-signing-cert-file=" + c.pki("ca.crt"),
		"--cluster-signing-key-file=" + c.pki("ca.key"),
		"--cluster-name=" + c.Name(),
		"--cluster-cidr=" + c.state.PodCIDR(),
		"--service-cluster-ip-range=" + c.state.ServiceCIDR(),
		// Pod addresses are dealt out for the whole cluster by the simulated
		// kubelets, so that 5,000 nodes need no /24 each.
		"--allocate-node-cidrs=false",
		// People watch, and nothing else waits for the default's 15 seconds.
		"--horizontal-pod-autoscaler-sync-period=5s",
	}
}
