package podprocess

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// launch is a process to start, whose words go to log.
type launch struct {
	path string
	args []string
	env  []string
	dir  string
	log  *journal
}

// process is one that runs. Its end is told once, on ended.
type process struct {
	cmd   *exec.Cmd
	ended chan int // the exit code as a kubelet gives it: 128 and the signal
}

// starters run on one thread that never ends. The kernel kills a child when
// the thread that forked it ends, and so never before this process does.
var starters = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range work {
			start()
		}
	}()
	return work
})

// start starts the process. It lives no longer than this one, whatever death
// that dies, and is of its process group: who pauses a cluster's kubelets
// pauses their pods.
func start(l launch) (*process, error) {
	output, words, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(l.path, l.args...)
	cmd.Dir, cmd.Env = l.dir, l.env
	cmd.Stdout, cmd.Stderr = words, words
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	started := make(chan error)
	starters() <- func() { started <- cmd.Start() }
	err = <-started
	words.Close()
	if err != nil {
		output.Close()
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan int, 1)}
	go func() {
		l.log.follow(output)
		output.Close()
		p.ended <- exitCode(cmd.Wait())
	}()
	return p, nil
}

func exitCode(err error) int {
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) {
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// stop asks the process to end, ends it after the grace, and returns how it
// ended.
func (p *process) stop(grace time.Duration) int {
	_ = p.cmd.Process.Signal(unix.SIGTERM) // it may have ended
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case code := <-p.ended:
		return code
	case <-timer.C:
	}
	_ = p.cmd.Process.Kill()
	return <-p.ended
}
