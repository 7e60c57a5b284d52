package realnode

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// pluginDir is where Debian has the CNI plugins.
const pluginDir = "/usr/lib/cni"

// built are the programs that `make node` makes.
var built = []string{"containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "kube-proxy", "pause"}

// Check says why this machine can have no real node, with what to do, or nil.
func Check(programs string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("a real node needs root, for namespaces and mounts of its own: run as root, or leave it simulated")
	}
	for _, name := range built {
		if _, err := os.Stat(filepath.Join(programs, name)); err != nil {
			return fmt.Errorf("%s of a real node is not built: run `make node`: %w", name, err)
		}
	}
	var missing []string
	for program, pack := range map[string]string{"runc": "runc", "nft": "nftables", "ip": "iproute2", "mount": "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pack)
		}
	}
	if _, err := os.Stat(filepath.Join(pluginDir, "bridge")); err != nil {
		missing = append(missing, "containernetworking-plugins")
	}
	if len(missing) > 0 {
		return fmt.Errorf("a real node needs programs of the machine: apt-get install -y %s", strings.Join(missing, " "))
	}
	if err := canWatch(); err != nil {
		return err
	}
	_, err := hierarchies()
	return err
}

// watchers is how many inotify instances the programs of a node hold: the kubelet
// six, containerd two, kube-proxy one.
const watchers = 9

// canWatch finds out by trying: kubelets and their like watch files, and the
// default of 128 watchers for all of root's processes is soon used up. Without
// any, containerd has no pods and kube-proxy ends.
func canWatch() error {
	for range watchers {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			return fmt.Errorf("a real node needs %d inotify instances and this machine has no more: end other clusters, or raise the limit, as by sysctl fs.inotify.max_user_instances=1024: %w", watchers, err)
		}
		defer unix.Close(fd)
	}
	return nil
}
