package realnode

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Cgroup is the path below which all containers of a node are accounted for, in
// every hierarchy of the machine.
type Cgroup string

// CgroupOf is the cgroup of the cluster in that directory. It derives from
// nothing else, so that it is found again after everything died.
func CgroupOf(clusterDir string) Cgroup {
	sum := sha256.Sum256([]byte(clusterDir))
	return Cgroup("/atoll-sandbox/" + hex.EncodeToString(sum[:6]))
}

// Create makes the cgroup, empty.
func (c Cgroup) Create() error {
	if err := c.Remove(); err != nil {
		return err
	}
	roots, err := hierarchies()
	for _, root := range roots {
		at := root
		for _, part := range strings.Split(strings.Trim(string(c), "/"), "/") {
			above := at
			at = filepath.Join(at, part)
			if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := inheritCPUs(above, at); err != nil {
				return err
			}
		}
	}
	return err
}

// inheritCPUs does what cpuset of version 1 does not: a new cgroup there has
// no processor, and nothing can run in it.
func inheritCPUs(above, at string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		data, err := os.ReadFile(filepath.Join(above, file))
		if errors.Is(err, fs.ErrNotExist) || len(bytes.TrimSpace(data)) == 0 {
			continue // another controller, or version 2, where empty means all
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(at, file), data, 0); err != nil {
			return err
		}
	}
	return nil
}

// removeTimeout is how long processes that were killed may take to be gone.
const removeTimeout = 30 * time.Second

// Remove removes the cgroup with all below it, once its processes have ended;
// it ends none. What is not there is no error.
func (c Cgroup) Remove() error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		errs = append(errs, removeTree(filepath.Join(root, string(c)), time.Now().Add(removeTimeout)))
	}
	return errors.Join(errs...)
}

func removeTree(dir string, deadline time.Time) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, path := range slices.Backward(dirs) {
		for {
			err := unix.Rmdir(path)
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup %s: %w", path, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// hierarchies are where cgroups are mounted.
func hierarchies() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var roots []string
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 2 && (f[2] == "cgroup" || f[2] == "cgroup2") {
			roots = append(roots, f[1])
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("no cgroups are mounted on this machine")
	}
	return roots, nil
}
