package bench

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
)

// clockTick is the unit of CPU times in /proc/PID/stat: USER_HZ, which Linux
// fixes at 100 for programs.
const clockTick = 10 * time.Millisecond

// CPU is the processor time that a process has used, all its threads together.
func CPU(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
	}
	// The command name, in parentheses, may hold anything. utime and stime are
	// fields 14 and 15, so 12 and 13 of those behind it.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// Memory is what a process has in memory, in MB. The programs are static: one
// that runs alone has all of Resident to itself, five agents on one machine
// share their program.
type Memory struct {
	Resident float64
	// Private is what no other process maps.
	Private float64
	// Files is the part of Private that is unchanged pages of files, which the
	// system may drop at any time: the program, and the database that etcd maps.
	Files float64
}

// MemoryOf reads /proc/PID/smaps_rollup.
func MemoryOf(pid int) (Memory, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Memory{}, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return parseMemory(string(data))
}

func parseMemory(rollup string) (Memory, error) {
	var m Memory
	for line := range strings.Lines(rollup) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		kilobytes, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return Memory{}, fmt.Errorf("read how much memory is %s: %w", fields[0], err)
		}
		if fields[0] == "Rss:" {
			m.Resident = kilobytes / 1024
		}
		if strings.HasPrefix(fields[0], "Private_") {
			m.Private += kilobytes / 1024
		}
		if fields[0] == "Private_Clean:" {
			m.Files = kilobytes / 1024
		}
	}
	return m, nil
}

// ThisMachine is the one that measures.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
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
