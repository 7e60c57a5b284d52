package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// SkewPath is the file in a cluster's folder by which its agents' clocks are
// wrong, as internal/clock reads it; there is none while they are right.
func SkewPath(dir string) string { return filepath.Join(dir, "clock-skew") }

// SkewPath is that file of this cluster.
func (c *Cluster) SkewPath() string { return SkewPath(c.dir) }

// writeSkew does what the faults say of a cluster's clock.
func (f *Fleet) writeSkew(s State) error {
	path := SkewPath(filepath.Join(f.dir, s.Spec.Name))
	for _, fault := range s.Faults {
		if fault.Kind == Skewed && !fault.over(time.Now()) {
			if err := replaceFile(path, []byte(fault.Skew.Duration.String()+"\n")); err != nil {
				return fmt.Errorf("set the clock of cluster %s: %w", s.Spec.Name, err)
			}
			return nil
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set the clock of cluster %s right: %w", s.Spec.Name, err)
	}
	return nil
}
