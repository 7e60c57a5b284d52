package simulate

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
)

// The agents stand for programs on other machines: they do not compete with a hub
// for its cores, and nobody asks here what memory they use.
const (
	// niceness is what the rig takes upon itself beyond the hub.
	niceness = 5
	// garbage is by how much the rig's heap may grow before it is collected, in
	// percent; memory, in bytes, bounds that.
	garbage = 400
	memory  = 8 << 30
)

// yield lets the hub, which runs already, go first from now on. One that is
// started later inherits the rig's niceness: to take it back needs rights.
func yield() error {
	debug.SetMemoryLimit(memory)
	debug.SetGCPercent(garbage)
	threads, err := os.ReadDir("/proc/self/task") // Linux counts niceness by thread; new ones have that of their maker
	if err != nil {
		return fmt.Errorf("list the rig's threads: %w", err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("read the rig's threads: %w", err)
		}
		was, err := syscall.Getpriority(syscall.PRIO_PROCESS, id)
		if err == nil {
			err = syscall.Setpriority(syscall.PRIO_PROCESS, id, 20-was+niceness) // the call gives 20 less the niceness
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) { // one that has ended meanwhile
			return fmt.Errorf("let the hub go before the rig: %w", err)
		}
	}
	return nil
}
