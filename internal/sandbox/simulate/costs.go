package simulate

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/bench"
)

// costs is what has been spent until now.
type costs struct {
	pid      int
	hub, rig time.Duration
	memory   bench.Memory
	revision int64
	applies  int
}

func (r *rig) costs(ctx context.Context) (costs, error) {
	c := costs{pid: r.hub.PID()}
	var err error
	if c.hub, err = bench.CPU(c.pid); err != nil {
		return c, err
	}
	if c.rig, err = bench.CPU(os.Getpid()); err != nil {
		return c, err
	}
	if c.memory, err = bench.MemoryOf(c.pid); err != nil {
		return c, err
	}
	// The revision of the store is the version of any fresh list.
	var list corev1.NamespaceList
	if err := r.hub.Client.List(ctx, &list, client.Limit(1)); err != nil {
		return c, fmt.Errorf("ask the hub for its revision: %w", err)
	}
	if c.revision, err = strconv.ParseInt(list.ResourceVersion, 10, 64); err != nil {
		return c, fmt.Errorf("read the hub's revision: %w", err)
	}
	for _, m := range r.members {
		if m.api != nil {
			c.applies += m.api.Requests()["apply"]
		}
	}
	return c, nil
}

// Store is what the hub keeps on disk, in MB.
type Store struct {
	// Database is etcd's, Log its write-ahead log, which is preallocated.
	Database float64 `json:"database"`
	Log      float64 `json:"log"`
	// Content is what was uploaded, Other keys and the like.
	Content float64 `json:"content"`
	Other   float64 `json:"other"`
}

// Total is all of it.
func (s Store) Total() float64 { return s.Database + s.Log + s.Content + s.Other }

// stored looks through the hub's data directory.
func stored(dir string) (Store, error) {
	var s Store
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(dir, path) // it lies below dir
		*s.part(relative) += float64(info.Size()) / (1 << 20)
		return nil
	})
	if err != nil {
		return Store{}, fmt.Errorf("measure the hub's store: %w", err)
	}
	return s, nil
}

func (s *Store) part(path string) *float64 {
	switch {
	case strings.Contains(path, "/wal/"):
		return &s.Log
	case strings.HasPrefix(path, "etcd"):
		return &s.Database
	case strings.HasPrefix(path, "content"):
		return &s.Content
	}
	return &s.Other
}
