package worker

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// limit gives the process so much processor time from now on, and so much
// memory beyond base, what it had at its start.
func limit(l Limits, base uint64) error {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return fmt.Errorf("read the processor time used: %w", err)
	}
	spent := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	// In whole seconds, and one more, since what was spent is rounded down.
	if err := soft(syscall.RLIMIT_CPU, uint64((spent+l.CPU)/time.Second)+1); err != nil {
		return err
	}
	if l.Memory == 0 {
		return nil
	}
	debug.SetMemoryLimit(l.Memory) // collect before it is all gone
	return soft(syscall.RLIMIT_DATA, base+uint64(l.Memory))
}

func soft(resource int, value uint64) error {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(resource, &now); err != nil {
		return fmt.Errorf("read a limit of the process: %w", err)
	}
	now.Cur = min(value, now.Max)
	if err := syscall.Setrlimit(resource, &now); err != nil {
		return fmt.Errorf("limit the process: %w", err)
	}
	return nil
}

// lower is by how much a worker yields to the hub: it gets about a quarter of a
// processor that both want, within which a render at its limit is done in time.
const lower = 5

// yield has the hub's own work go first. Priorities are of threads, and are
// inherited: it is done once a pass finds no more of them than the one before.
func yield() {
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		return
	}
	const even = 20 // the kernel counts from here, and down
	for before := 0; ; {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil || len(threads) == before {
			return
		}
		before = len(threads)
		for _, t := range threads {
			if id, err := strconv.Atoi(t.Name()); err == nil {
				_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, min(even-own+lower, 19)) // at worst as before
			}
		}
	}
}

// writable is the memory that counts against RLIMIT_DATA, in bytes.
func writable() (uint64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read the memory used: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "VmData:"); ok {
			kilobytes, err := strconv.ParseUint(strings.Fields(text)[0], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("read the memory used: /proc/self/status has no VmData")
}
