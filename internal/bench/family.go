package bench

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Family is a process and all that it started which still run, such as a hub
// with the processes that render for it.
func Family(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	parents := map[int]int{}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fields, err := statOf(id); err == nil { // else it has just ended
			parents[id], _ = strconv.Atoi(fields[1])
		}
	}
	if _, runs := parents[pid]; !runs {
		return nil, fmt.Errorf("process %d does not run", pid)
	}
	family := []int{pid}
	for i := 0; i < len(family); i++ {
		for id, parent := range parents {
			if parent == family[i] && !slices.Contains(family, id) {
				family = append(family, id)
			}
		}
	}
	return family, nil
}

// statOf are the fields of /proc/PID/stat behind the command name, which may
// hold anything: the state first, then the parent.
func statOf(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 15 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

// FamilyCPU is the processor time that a process, those it started, and those of
// them that have ended and were waited for, have used.
func FamilyCPU(pid int) (time.Duration, error) {
	family, err := Family(pid)
	if err != nil {
		return 0, err
	}
	var all int64
	for _, id := range family {
		fields, err := statOf(id)
		if err != nil {
			continue // ended, and counts with its parent from now on
		}
		for _, field := range fields[11:15] { // utime, stime, cutime, cstime
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the processor time of process %d: %w", id, err)
			}
			all += n
		}
	}
	return time.Duration(all) * clockTick, nil
}

// FamilyMemory is what is private to a process and to those it started, in MB.
func FamilyMemory(pid int) (own Memory, others float64, err error) {
	family, err := Family(pid)
	if err != nil {
		return own, 0, err
	}
	if own, err = MemoryOf(pid); err != nil {
		return own, 0, err
	}
	for _, id := range family[1:] {
		if m, err := MemoryOf(id); err == nil { // else it has ended
			others += m.Private
		}
	}
	return own, others, nil
}
