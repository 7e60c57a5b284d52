package sandbox

import (
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
	if err := p.signal(unix.SIGTERM); err != nil {
		return err
	}
	for deadline := time.Now().Add(grace); p.Alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return p.kill()
		}
	}
	return nil
}
