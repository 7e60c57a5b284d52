package simulate

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// costs is what has been spent until now.
type costs struct {
	pid      int
	hub, rig time.Duration
	memory   float64
	revision int64
	applies  int
}

func (r *rig) costs(ctx context.Context) (costs, error) {
	c := costs{pid: r.hub.PID()}
	var err error
	if c.hub, err = processorTime(c.pid); err != nil {
		return c, err
	}
	if c.rig, err = processorTime(os.Getpid()); err != nil {
		return c, err
	}
	if c.memory, err = privateMemory(c.pid); err != nil {
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
		if m != nil {
			c.applies += m.api.Requests()["apply"]
		}
	}
	return c, nil
}

// processorTime is what a process has used, from /proc/PID/stat, whose unit,
// USER_HZ, is 100 a second on Linux.
func processorTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time of %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// privateMemory is what no other process maps, in MB.
func privateMemory(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	var kilobytes float64
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && strings.HasPrefix(f[0], "Private_") {
			n, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return 0, fmt.Errorf("read memory of %d: %w", pid, err)
			}
			kilobytes += n
		}
	}
	return kilobytes / 1024, nil
}
