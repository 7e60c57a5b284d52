package realnode

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeConfigs writes the files of the node's programs, with paths as they see
// them.
func (c Config) writeConfigs(cgroup Cgroup) error {
	for file, content := range map[string]any{
		"kubelet.yaml":    c.kubelet(cgroup),
		"kube-proxy.yaml": c.kubeProxy(),
		"cni/10.conflist": c.cni(),
	} {
		// JSON is YAML.
		data, err := json.MarshalIndent(content, "", "  ")
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(configs(file)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(configs(file), data, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(configs("containerd.toml"), []byte(containerdConfig()), 0o600)
}

type object = map[string]any

func (c Config) kubelet(cgroup Cgroup) object {
	return object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"address": c.Network.NodeIP, "healthzPort": 0,
		"tlsCertFile": inside + "/pki/kubelet.crt", "tlsPrivateKeyFile": inside + "/pki/kubelet.key",
		"authentication":           object{"anonymous": object{"enabled": false}, "x509": object{"clientCAFile": inside + "/pki/ca.crt"}},
		"authorization":            object{"mode": "Webhook"},
		"containerRuntimeEndpoint": "unix://" + Socket,
		"providerID":               c.ProviderID,
		"cgroupDriver":             "cgroupfs", "cgroupRoot": string(cgroup), "failCgroupV1": false,
		"makeIPTablesUtilChains": false, "oomScoreAdj": 0, "failSwapOn": false,
		// No name server: pods find what they need by address and environment.
		"resolvConf": "", "clusterDNS": []string{},
		// How full the machine's disk is says nothing about the node.
		"evictionHard":                object{"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
		"imageGCHighThresholdPercent": 100,
	}
}

func (c Config) kubeletArguments() []string {
	labels := make([]string, 0, len(c.Labels))
	for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
		labels = append(labels, key+"="+c.Labels[key])
	}
	return []string{
		"--config=" + configs("kubelet.yaml"),
		"--kubeconfig=" + filepath.Join(inside, "node.kubeconfig"),
		"--hostname-override=" + c.Name,
		"--node-ip=" + c.Network.NodeIP,
		"--node-labels=" + strings.Join(labels, ","),
	}
}

func (c Config) kubeProxy() object {
	return object{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"clientConnection": object{"kubeconfig": filepath.Join(inside, "kube-proxy.kubeconfig")},
		"mode":             "nftables",
		"clusterCIDR":      c.Network.PodCIDR, "detectLocalMode": "ClusterCIDR",
		"bindAddress": c.Network.NodeIP, "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
		// The size of the table is the whole machine's.
		"conntrack": object{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	}
}

// cni is the network of pods: a bridge whose address is the node's.
func (c Config) cni() object {
	return object{
		"cniVersion": "1.0.0", "name": "sandbox",
		"plugins": []object{{
			"type": "bridge", "bridge": bridge, "isGateway": true, "hairpinMode": true,
			"ipam": object{
				"type": "host-local",
				"ranges": [][]object{{{
					"subnet": c.Network.PodCIDR, "gateway": c.Network.NodeIP, "rangeStart": c.Network.FirstPodIP,
				}}},
				"routes": []object{{"dst": "0.0.0.0/0"}},
			},
		}},
	}
}

func containerdConfig() string {
	return fmt.Sprintf(`version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
[grpc]
address = %[1]q
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = %[2]q
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [%[3]q]
conf_dir = %[4]q
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
`, Socket, PauseImage, pluginDir, configs("cni"))
}
