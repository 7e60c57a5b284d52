package podprocess

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// MountPointVariable tells a process which folder its container's files are
// in, as it does in HostProcess containers of Kubernetes. The program needs it
// for what it looks for by a path that nobody gave it: its account's token.
const MountPointVariable = "CONTAINER_SANDBOX_MOUNT_POINT"

// root is the folder that a container has in place of a file system of its
// own. Its mounts are links in it to the folders of the pod's volumes.
type root string

// at is where a container's path is on this machine. It never leads out.
func (r root) at(path string) string { return filepath.Join(string(r), filepath.Clean("/"+path)) }

// mount makes each of the container's mounts a link to its volume's folder.
func (r root) mount(mounts []corev1.VolumeMount, volumes string) error {
	if err := os.MkdirAll(string(r), 0o700); err != nil {
		return err
	}
	for _, m := range mounts {
		if m.SubPathExpr != "" || !filepath.IsLocal(filepath.Join(m.Name, m.SubPath)) {
			return fmt.Errorf("mount %s: the sandbox mounts whole volumes and plain subPaths", m.MountPath)
		}
		if inside(m.MountPath, mounts) {
			return fmt.Errorf("mount %s lies inside of another mount, which the sandbox does not offer", m.MountPath)
		}
		link, target := r.at(m.MountPath), filepath.Join(volumes, m.Name, m.SubPath)
		if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
			return fmt.Errorf("mount %s: %w", m.MountPath, err)
		}
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("mount %s: %w", m.MountPath, err)
		}
	}
	return nil
}

func inside(path string, mounts []corev1.VolumeMount) bool {
	return slices.ContainsFunc(mounts, func(m corev1.VolumeMount) bool {
		outer := filepath.Clean("/" + m.MountPath)
		return strings.HasPrefix(filepath.Clean("/"+path), strings.TrimSuffix(outer, "/")+"/")
	})
}

// words are a container's arguments with its paths as they are on this
// machine: each absolute one leads into the root, so that no pod names files
// of this machine, and one with ".." is refused.
func (r root) words(words []string) ([]string, error) {
	out := make([]string, 0, len(words))
	for _, word := range words {
		mapped, err := r.word(word)
		if err != nil {
			return nil, err
		}
		out = append(out, mapped)
	}
	return out, nil
}

func (r root) word(word string) (string, error) {
	if slices.Contains(strings.FieldsFunc(word, func(c rune) bool { return c == '/' || c == '=' }), "..") {
		return "", fmt.Errorf("argument %q leads out of its folder", word)
	}
	if strings.HasPrefix(word, "/") {
		return r.at(word), nil
	}
	if name, value, ok := strings.Cut(word, "="); ok && strings.HasPrefix(value, "/") {
		return name + "=" + r.at(value), nil
	}
	return word, nil
}

// environment is what the process finds: nothing of this machine's, what the
// cluster gives every container and, before that, what the pod says, without
// what the loader of programs would act on.
func (r root) environment(cluster, env map[string]string) []string {
	out := []string{MountPointVariable + "=" + string(r)}
	for _, name := range slices.Sorted(maps.Keys(cluster)) {
		if _, own := env[name]; !own {
			out = append(out, name+"="+cluster[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		if strings.HasPrefix(name, "LD_") || name == MountPointVariable {
			continue
		}
		if strings.HasPrefix(value, "/") && name != "PATH" {
			value = r.at(value)
		}
		out = append(out, name+"="+value)
	}
	return out
}
