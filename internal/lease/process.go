package lease

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"atoll.dev/atoll/internal/join"
)

// PodUID is the environment variable that tells an agent in a pod the pod's
// UID. Its container never runs twice at once: kubelet starts the next one when
// the last has ended.
const PodUID = join.PodUIDVariable

// identity names an agent and the process that it is in: which pod, or which
// boot of which machine and space of process numbers; which process, started when.
func identity(instance string) string {
	return strings.Join([]string{instance, place(), strconv.Itoa(os.Getpid()), started(os.Getpid())}, "/")
}

// gone reports whether the process of an identity other than our own is known
// to have ended: only of one that would be seen here if it lived.
func gone(identity string) bool {
	parts := strings.Split(identity, "/")
	if len(parts) != 4 || place() == "" || parts[1] != place() || parts[3] == "" {
		return false
	}
	if inPod() && (parts[2] != strconv.Itoa(os.Getpid()) || parts[3] != started(os.Getpid())) {
		return true
	}
	pid, err := strconv.Atoi(parts[2])
	if err != nil || pid <= 0 {
		return false
	}
	if now := started(pid); now != "" {
		return now != parts[3] // the number has gone to another
	}
	// What cannot be looked at may live all the same, as another user's.
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func inPod() bool { return os.Getenv(PodUID) != "" }

// place is the pod, or the boot and the process namespace; "" where they cannot
// be told.
func place() string {
	if inPod() {
		return "pod." + os.Getenv(PodUID)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "." + strings.Trim(strings.TrimPrefix(space, "pid:"), "[]")
}

// started is when a process began, in clock ticks since the boot: field 22 of
// /proc/PID/stat (proc_pid_stat(5)). "" for none that can be seen.
func started(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name in the second field may contain anything; the last ')' ends it.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}
