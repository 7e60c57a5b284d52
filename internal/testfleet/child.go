package testfleet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// child is a program that can be started again and again with the same
// arguments; its words are appended to one log.
type child struct {
	name string
	path string
	args []string
	env  []string
	log  string

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

// start does nothing when the program runs already.
func (c *child) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs() {
		return nil
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.path, c.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The signal comes with the death of the thread that started the
		// child, so that thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	c.cmd, c.ended = cmd, ended
	return nil
}

// runs is asked with mu held.
func (c *child) runs() bool {
	if c.cmd == nil {
		return false
	}
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

func (c *child) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs()
}

// end sends the signal and waits until the program is gone.
func (c *child) end(signal syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.runs() {
		return nil
	}
	if err := c.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("end %s: %w", c.name, err)
	}
	select {
	case <-c.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s does not end", c.name)
	}
}

// send sends a signal that does not end it.
func (c *child) send(signal syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.runs() {
		return fmt.Errorf("%s does not run", c.name)
	}
	return c.cmd.Process.Signal(signal)
}

// pid is 0 when it does not run.
func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.runs() {
		return 0
	}
	return c.cmd.Process.Pid
}

// lastWords are the last lines of the log.
func (c *child) lastWords(lines int) string {
	data, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}
