package sandbox

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// StartDetached starts a program that outlives its starter, with its output
// appended to a log: what belongs to a sandbox without being a cluster.
func StartDetached(log, path string, args ...string) (Process, error) {
	p, _, err := spawn(command{path: path, log: log, args: args})
	if err != nil {
		return Process{}, fmt.Errorf("start %s: %w", path, err)
	}
	return p, nil
}

// Kill ends the process at once and waits until it is gone; one that has ended
// already is no error.
func (p Process) Kill() error { return p.kill() }

// Stop asks the process to end, and ends it when it has not after the grace.
func (p Process) Stop(grace time.Duration) error {
	if p.PID <= 0 {
		return nil
	}
	// As in kill: the descriptor is of one process, whoever gets its id next.
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return nil // ESRCH: it has ended
	}
	defer unix.Close(fd)
	if !p.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d: %w", p.PID, err)
	}
	for deadline := time.Now().Add(grace); p.Alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return p.kill()
		}
	}
	return nil
}
