package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// An index is claimed for the whole machine, not for one fleet: pods and load
// balancers listen on loopback addresses that derive from it, and loopback is
// shared by all fleets. A claim is a link, named after the index, to the
// cluster's directory. It holds as long as that directory's state.json has
// that index, so a cluster that was stopped keeps its addresses, and one whose
// directory was removed, in whatever way, has given them back.
type ranges struct{ dir string }

func machineRanges() ranges {
	return ranges{filepath.Join(os.TempDir(), "atoll-sandbox-ranges")}
}

// claim finds the lowest index that no cluster of the machine has, and lays
// the cluster out with it. No other process can claim meanwhile.
func (r ranges) claim(clusterDir string, layOut func(index int) error) error {
	// Open to every user of the machine, each of whom owns their links.
	if err := os.Mkdir(r.dir, 0o777); err == nil {
		err = os.Chmod(r.dir, 0o777|os.ModeSticky)
		if err != nil {
			return fmt.Errorf("share address ranges %s: %w", r.dir, err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create address ranges: %w", err)
	}
	dir, err := os.Open(r.dir)
	if err != nil {
		return fmt.Errorf("lock address ranges: %w", err)
	}
	defer dir.Close() // and with it the lock
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock address ranges %s: %w", r.dir, err)
	}
	for index := range maxClusters {
		if r.taken(index) {
			continue
		}
		link := r.link(index)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue // another user's, who alone may remove it
		}
		if err := os.Symlink(clusterDir, link); err != nil {
			return fmt.Errorf("claim address range %d: %w", index, err)
		}
		return layOut(index)
	}
	return fmt.Errorf("the sandboxes of this machine hold %d clusters together, and no more fit: end some with `down`", maxClusters)
}

func (r ranges) link(index int) string { return filepath.Join(r.dir, strconv.Itoa(index)) }

// taken errs on the side of caution: what cannot be read may well be in use.
func (r ranges) taken(index int) bool {
	target, err := os.Readlink(r.link(index))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	s, err := ReadState(filepath.Join(target, "state.json"))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return s.Index == index
}
