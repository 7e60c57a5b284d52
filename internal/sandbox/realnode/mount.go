package realnode

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountAll gives the node a /run and a /var of its own, in which every program
// finds its usual paths, and a view of its own processes. The machine's kernel
// settings cannot be changed through it, but for those of the node's network.
func mountAll(c Config) error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE); err != nil {
		return err
	}
	// Peers of nobody outside: kubelets expect that mounts propagate.
	if err := mount("", "/", "", unix.MS_REC|unix.MS_SHARED); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, "node", "var"), 0o755); err != nil {
		return err
	}
	// Held open, because either may lie in what is covered next.
	held := map[string]*os.File{inside: nil, programs: nil}
	for at, dir := range map[string]string{inside: c.Dir, programs: c.Programs} {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		held[at] = f
	}
	if err := mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV); err != nil {
		return err
	}
	for at, f := range held {
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), at, "", unix.MS_BIND); err != nil {
			return err
		}
	}
	if err := ownVar(); err != nil {
		return err
	}
	return ownProc()
}

func ownVar() error {
	dir := filepath.Join(inside, "node", "var")
	for _, sub := range []string{"lib", "log", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	// Addresses of pods that ended with the node would never be given back.
	if err := os.RemoveAll(filepath.Join(dir, "lib", "cni")); err != nil {
		return err
	}
	link := filepath.Join(dir, "run")
	if err := os.Symlink("/run", link); err != nil && !os.IsExist(err) {
		return err
	}
	return mount(dir, "/var", "", unix.MS_BIND)
}

func ownProc() error {
	if err := mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC); err != nil {
		return err
	}
	if err := pretendSettings(); err != nil {
		return err
	}
	for _, dir := range []string{"/proc/sys", "/proc/sys/net"} {
		if err := mount(dir, dir, "", unix.MS_BIND|unix.MS_REC); err != nil {
			return err
		}
	}
	return mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY)
}

// kubeletSettings are what a kubelet makes of the kernel when it starts, or it
// ends (setupKernelTunables in k8s.io/kubernetes/pkg/kubelet/cm).
var kubeletSettings = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// pretendSettings shows the node the kernel settings that its kubelet wants. The
// machine, which is somebody's, keeps its own.
func pretendSettings() error {
	for name, value := range kubeletSettings {
		file := filepath.Join("/run/atoll/settings", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mount(file, filepath.Join("/proc/sys", name), "", unix.MS_BIND); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, kind string, flags uintptr) error {
	if err := unix.Mount(source, target, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", source, target, err)
	}
	return nil
}
