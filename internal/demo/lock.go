package demo

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock keeps two commands from working on one demo at once. It is on the folder
// itself, so that an empty one stays empty, and the kernel drops it with the
// process.
func (d *Demo) lock() (unlock func(), err error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the demo's folder: %w", err)
	}
	folder, err := os.Open(d.dir)
	if err != nil {
		return nil, fmt.Errorf("lock the demo's folder: %w", err)
	}
	switch err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		folder.Close()
		return nil, fmt.Errorf("another command is bringing the demo in %s up or down: wait until it is done, or choose another folder with --dir", d.Dir)
	case err != nil:
		folder.Close()
		return nil, fmt.Errorf("lock the demo's folder: %w", err)
	}
	return func() { folder.Close() }, nil
}
