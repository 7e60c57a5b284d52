package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process identifies one process for as long as the machine is up: a process
// id may be given out again, but never with the same start time.
type Process struct {
	PID int `json:"pid"`
	// StartTicks is the start time in clock ticks since boot, field 22 of
	// proc(5)'s /proc/PID/stat.
	StartTicks uint64 `json:"startTicks"`
	// BootID distinguishes this boot's clock from another's.
	BootID string `json:"bootID"`
}

// LifelineVariable names, for a component, the inherited descriptor of a pipe
// whose end means that its owner is gone and it must go too.
const LifelineVariable = "ATOLL_SANDBOX_LIFELINE"

// LifelineRemoveVariable names a directory that the component removes when
// its lifeline ends: what a test that was killed can no longer clean up.
const LifelineRemoveVariable = "ATOLL_SANDBOX_LIFELINE_REMOVE"

// command is a child process to start.
type command struct {
	path, log string
	args      []string
	env       []string
	// lifeline is the read end of the owner's pipe, or nil for a child that
	// outlives whoever started it.
	lifeline *os.File
	// namespaces are those, as flags of clone(2), that the child has for itself.
	namespaces uintptr
}

// frugal is the environment of a child that shares a laptop with two dozen like
// it: twice the collections for about two thirds of the memory, and no samples
// of what was allocated, which nobody looks at.
func frugal() []string {
	debug := "memprofilerate=0"
	if set := os.Getenv("GODEBUG"); set != "" {
		debug = set + "," + debug
	}
	return []string{"GOGC=50", "GODEBUG=" + debug}
}

// spawn starts a child in a session of its own, so that Ctrl-C in the shell
// that ran `up` does not end the clusters with it.
func spawn(c command) (Process, <-chan struct{}, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return Process{}, nil, err
	}
	defer log.Close()
	cmd := exec.Command(c.path, c.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: c.namespaces}
	if c.lifeline != nil {
		cmd.ExtraFiles = []*os.File{c.lifeline}
		cmd.Env = append(cmd.Env, LifelineVariable+"=3")
	}
	if err := cmd.Start(); err != nil {
		return Process{}, nil, err
	}
	p, err := processOf(cmd.Process.Pid)
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // reaps it; how it ended is in its log
		close(ended)
	}()
	return p, ended, err
}

func processOf(pid int) (Process, error) {
	stat, err := readStat(pid)
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	boot, err := bootID()
	return Process{PID: pid, StartTicks: stat.ticks, BootID: boot}, err
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// procStat is what proc(5)'s /proc/PID/stat says of a process.
type procStat struct {
	state   byte
	threads int
	ticks   uint64 // when it started, since boot
}

// ended says that nothing of the process runs and that its files and ports are
// free. When a process is killed its first thread may be a zombie for a tenth
// of a second before the last one lets go of what they share.
func (s procStat) ended() bool {
	return (s.state == 'Z' || s.state == 'X') && s.threads <= 1
}

func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(data)
}

// parseStat reads proc(5)'s stat line. The command name, in parentheses, may
// hold anything, even parentheses, so fields are counted from the last one.
func parseStat(data []byte) (procStat, error) {
	end := bytes.LastIndexByte(data, ')')
	fields := strings.Fields(string(data[end+1:]))
	if end < 0 || len(fields) < 20 {
		return procStat{}, errors.New("malformed stat line")
	}
	threads, badThreads := strconv.Atoi(fields[17])
	ticks, badTicks := strconv.ParseUint(fields[19], 10, 64)
	return procStat{state: fields[0][0], threads: threads, ticks: ticks}, errors.Join(badThreads, badTicks)
}

// Alive says whether that very process still runs. A zombie does not, once all
// of its threads have ended.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	stat, err := readStat(p.PID)
	if err != nil || stat.ticks != p.StartTicks || stat.ended() {
		return false
	}
	boot, err := bootID()
	return err == nil && boot == p.BootID
}

// signal reaches that very process and what it started in its group, such as
// the pods of kwok; one that has ended is no error.
func (p Process) signal(signal unix.Signal) error {
	if p.PID <= 0 {
		return nil
	}
	// The descriptor pins the process, so that the check and the signal are
	// about the same one even if the id is given out again in between.
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return nil // ESRCH: it has ended
	}
	defer unix.Close(fd)
	if !p.Alive() {
		return nil
	}
	if group, leads := unix.Getpgid(p.PID); leads == nil && group == p.PID {
		err = unix.Kill(-group, signal)
	} else {
		err = unix.PidfdSendSignal(fd, signal, nil, 0)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(signal), p.PID, err)
	}
	return nil
}

// Children are the processes that this one started and that still run.
func (p Process) Children() ([]Process, error) {
	if !p.Alive() {
		return nil, nil
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var children []Process
	for _, stat := range stats {
		data, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended since
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(p.PID) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		if err != nil {
			return nil, err
		}
		if child, err := processOf(pid); err == nil && child.Alive() {
			children = append(children, child)
		}
	}
	return children, nil
}

// kill ends the process at once and waits until it is gone. Nothing is lost
// by the haste: what etcd has acknowledged is in the kernel's page cache.
func (p Process) kill() error {
	if err := p.signal(unix.SIGKILL); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); p.Alive(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d did not end within 10s of SIGKILL", p.PID)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}
