package realnode

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// bridge is what pods are plugged into.
const bridge = "cni0"

// create gives the calling thread a network with nothing in it but the bridge
// and loopback. Before either comes the route that lets nothing out; there is no
// interface by which anything could get out anyway.
func (n Network) create() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("create a network namespace: %w", err)
	}
	pods, err := netip.ParsePrefix(n.PodCIDR)
	if err != nil {
		return nil, err
	}
	for _, arguments := range []string{
		"link set lo up",
		"route add unreachable default",
		"link add " + bridge + " type bridge",
		fmt.Sprintf("address add %s/%d dev %s", n.NodeIP, pods.Bits(), bridge),
		"address add " + n.MachineIP + "/32 dev lo",
		"link set " + bridge + " up",
		// For what the node itself asks of a cluster IP: the kernel wants a route
		// before it lets kube-proxy choose another destination.
		"route add " + n.ServiceCIDR + " dev lo src " + n.NodeIP,
	} {
		if err := run("ip", strings.Fields(arguments)...); err != nil {
			return nil, err
		}
	}
	for file, value := range map[string]string{
		"ipv4/ip_forward": "1",
		// Replies between two pods of one bridge go by the rules of Services, too.
		"bridge/bridge-nf-call-iptables": "1",
	} {
		if err := os.WriteFile("/proc/sys/net/"+file, []byte(value), 0); err != nil {
			return nil, err
		}
	}
	if err := n.redirect(); err != nil {
		return nil, err
	}
	return os.Open("/proc/thread-self/ns/net")
}

// redirect leads what pods send to the machine's address, at whatever port, to
// the relay.
func (n Network) redirect() error {
	rules := fmt.Sprintf(`table ip atoll {
	chain prerouting { type nat hook prerouting priority -110; ip daddr %[1]s meta l4proto tcp redirect to :%[2]d; }
	chain output { type nat hook output priority -110; ip daddr %[1]s meta l4proto tcp redirect to :%[2]d; }
}`, n.MachineIP, outwardPort)
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	return said(cmd)
}

func run(program string, arguments ...string) error { return said(exec.Command(program, arguments...)) }

// said runs a command, and gives what it said when it fails.
func said(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
