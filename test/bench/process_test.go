package bench_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"atoll.dev/atoll/internal/bench"
)

// clockTick is the unit of CPU times in /proc/PID/stat: USER_HZ, which Linux
// fixes at 100 for programs.
const clockTick = 10 * time.Millisecond

// cpu is the processor time that a process has used, all its threads together.
func cpu(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command name, in parentheses, may hold anything. utime and stime are
	// fields 14 and 15, so 12 and 13 of those behind it.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the times of process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// memory is what a process has in memory, in MB, and how much of it no other
// process maps. The programs are static: one that runs alone has all of the
// first to itself, five agents on one machine share their program.
func memory(pid int) (resident, private float64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		kilobytes, err := strconv.ParseFloat(fields[1], 64)
		switch {
		case err != nil:
			return 0, 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
		case fields[0] == "Rss:":
			resident = kilobytes / 1024
		case strings.HasPrefix(fields[0], "Private_"):
			private += kilobytes / 1024
		}
	}
	return resident, private, nil
}

// usage is processor time by who used it.
type usage struct{ hub, agents, members, bench time.Duration }

func (u usage) total() time.Duration { return u.hub + u.agents + u.members + u.bench }

func (u usage) since(before usage) usage {
	return usage{u.hub - before.hub, u.agents - before.agents, u.members - before.members, u.bench - before.bench}
}

// less is u without what is used over that time when nothing is asked for.
func (u usage) less(idle usage, d time.Duration) usage {
	part := func(all, aSecond time.Duration) time.Duration {
		return all - time.Duration(float64(aSecond)*d.Seconds())
	}
	return usage{part(u.hub, idle.hub), part(u.agents, idle.agents), part(u.members, idle.members), part(u.bench, idle.bench)}
}

// idleUsage is what is used in a second while nothing is asked for.
func (b *bed) idleUsage() usage {
	b.t.Helper()
	const seconds = 10
	before := b.used()
	time.Sleep(seconds * time.Second)
	u := b.used().since(before)
	return usage{u.hub / seconds, u.agents / seconds, u.members / seconds, u.bench / seconds}
}

// used is what every process of the fleet has used until now, and this one,
// which is the raw side's client and both sides' observer.
func (b *bed) used() usage {
	b.t.Helper()
	of := func(pid int) time.Duration {
		d, err := cpu(pid)
		b.must(err)
		return d
	}
	u := usage{hub: of(b.fleet.Hub.PID()), bench: of(os.Getpid())}
	for _, m := range b.members {
		u.agents += of(m.Agent.PID())
		for _, p := range m.Sandbox.State().Processes {
			u.members += of(p.PID)
		}
	}
	return u
}

func thisMachine() bench.Machine {
	m := bench.Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMB = int64(info.Totalram) * int64(info.Unit) / (1 << 20)
	}
	if data, err := os.ReadFile(filepath.Join("/proc", "cpuinfo")); err == nil {
		for line := range strings.Lines(string(data)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	return m
}
