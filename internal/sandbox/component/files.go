package component

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

var (
	errNoFile    = errors.New("no such file or directory")
	errDirectory = errors.New("is a directory")
	errNoImage   = errors.New("the container is simulated: of its files there are its volumes', /etc/hostname and /etc/hosts")
)

// cat prints files of volumes, and the two that a kubelet writes.
func (s *shell) cat(ctx context.Context, paths []string) (r result) {
	for _, name := range paths {
		text, err := s.read(ctx, name)
		if err != nil {
			r.err, r.code = r.err+fmt.Sprintf("cat: %s: %v\n", name, err), 1
		}
		r.out += text
	}
	return r
}

func (s *shell) read(ctx context.Context, name string) (string, error) {
	switch s.absolute(name) {
	case "/etc/hostname":
		return s.hostname() + "\n", nil
	case "/etc/hosts":
		text := "127.0.0.1\tlocalhost\n" + s.pod.Status.PodIP + "\t" + s.hostname() + "\n"
		for _, alias := range s.pod.Spec.HostAliases {
			text += alias.IP + "\t" + strings.Join(alias.Hostnames, "\t") + "\n"
		}
		return text, nil
	}
	found, err := s.mounted(ctx, name)
	if err != nil {
		return "", err
	}
	if read := found.files[found.at]; read != nil {
		return read(ctx)
	}
	if _, err := found.children(); err != nil {
		return "", err
	}
	return "", errDirectory
}

// ls lists what is mounted. Modes and times there are none.
func (s *shell) ls(ctx context.Context, args []string) (r result) {
	paths := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "-1" || a == "-a" })
	if len(paths) == 0 {
		paths = []string{"."}
	}
	for n, name := range paths {
		names, err := s.list(ctx, name)
		switch {
		case strings.HasPrefix(name, "-"):
			return result{err: fmt.Sprintf("ls: %s: the container is simulated: ls knows -1 and -a\n", name), code: 2}
		case err != nil:
			r.err, r.code = r.err+fmt.Sprintf("ls: %s: %v\n", name, err), 1
			continue
		case len(paths) > 1 && n > 0:
			r.out += "\n"
		}
		if len(paths) > 1 {
			r.out += name + ":\n"
		}
		for _, entry := range names {
			r.out += entry + "\n"
		}
	}
	return r
}

func (s *shell) list(ctx context.Context, name string) ([]string, error) {
	found, err := s.mounted(ctx, name)
	if err != nil {
		return nil, err
	}
	if found.files[found.at] != nil {
		return []string{name}, nil
	}
	return found.children()
}

// place is a path in a volume that is mounted at root.
type place struct {
	files    map[string]file
	at, root string
}

// children are the names in a directory.
func (p place) children() ([]string, error) {
	prefix, found := p.at+"/", map[string]bool{}
	if p.at == "" {
		prefix = ""
	}
	for name := range p.files {
		if rest, below := strings.CutPrefix(name, prefix); below {
			found[strings.Split(rest, "/")[0]] = true
		}
	}
	if len(found) == 0 && p.at != p.root {
		return nil, errNoFile
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func (s *shell) absolute(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", s.container.WorkingDir, name)
}

// mounted finds the volume that a path lies in: the innermost.
func (s *shell) mounted(ctx context.Context, name string) (place, error) {
	var mount corev1.VolumeMount
	deepest, rest := "", ""
	for _, m := range s.container.VolumeMounts {
		at := strings.TrimSuffix(path.Clean(m.MountPath), "/") + "/"
		if below, ok := strings.CutPrefix(s.absolute(name)+"/", at); ok && len(at) > len(deepest) {
			mount, deepest, rest = m, at, below
		}
	}
	i := slices.IndexFunc(s.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
	if i < 0 {
		return place{}, errNoImage
	}
	root, err := s.subPath(ctx, mount)
	if err != nil {
		return place{}, err
	}
	files, err := s.files(ctx, s.pod.Spec.Volumes[i])
	return place{files: files, root: inVolume(root), at: inVolume(root, rest)}, err
}

// inVolume is a path as the files of a volume are named by.
func inVolume(elements ...string) string {
	return strings.TrimPrefix(path.Join("/", path.Join(elements...)), "/")
}

func (s *shell) subPath(ctx context.Context, mount corev1.VolumeMount) (string, error) {
	if mount.SubPathExpr == "" {
		return mount.SubPath, nil
	}
	env, err := s.env(ctx)
	if err != nil {
		return "", err
	}
	return expansion.Expand(mount.SubPathExpr, expansion.MappingFuncFor(env)), nil
}
