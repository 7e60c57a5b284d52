package worker

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// process is one worker. It serves one request at a time.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	encoder *gob.Encoder
	decoder *gob.Decoder
	said    *words
	served  int
	retire  *time.Timer
}

func start(command []string) (*process, error) {
	cmd := exec.Command(command[0], command[1:]...)
	// One processor: the hub has other work. No PATH: nothing is run.
	cmd.Env = []string{"GOMAXPROCS=1", "GODEBUG=madvdontneed=1"}
	cmd.Dir = "/"
	said := &words{}
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a process to render in: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a process to render in: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process to render in: %w", err)
	}
	return &process{cmd: cmd, in: in, encoder: gob.NewEncoder(in), decoder: gob.NewDecoder(out), said: said}, nil
}

// exchange sends a request and waits for its answer. On any error the process
// is gone.
func (w *process) exchange(ctx context.Context, r request) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.Wall)
	defer cancel()
	type outcome struct {
		answer response
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		if o.err = w.encoder.Encode(r); o.err == nil {
			o.err = w.decoder.Decode(&o.answer)
		}
		done <- o
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return response{}, w.autopsy(r, o.err)
		}
		return o.answer, nil
	case <-ctx.Done():
		w.end()
		<-done
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return response{}, fmt.Errorf("render %s: not done after %s, and given up", r.In.Path, r.Limits.Wall)
		}
		return response{}, fmt.Errorf("render %s: %w", r.In.Path, ctx.Err())
	}
}

// end kills the process; one that renders for a hub that is gone has nobody to
// answer to.
func (w *process) end() {
	_ = w.cmd.Process.Kill()
	_ = w.in.Close()
	_ = w.cmd.Wait()
}

// autopsy says why a process ended instead of answering.
func (w *process) autopsy(r request, cause error) error {
	_ = w.in.Close()
	err := w.cmd.Wait()
	var exit *exec.ExitError
	said := w.said.String()
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == exitOverTime:
		return fmt.Errorf("render %s: it takes more than %s of processor time: a template may loop, or the source is too large", r.In.Path, r.Limits.CPU)
	case strings.Contains(said, "out of memory") || strings.Contains(said, "cannot allocate memory"):
		return fmt.Errorf("render %s: it takes more than %d MiB of memory: a template may loop, or the source is too large", r.In.Path, r.Limits.Memory>>20)
	case strings.Contains(said, "stack overflow") || strings.Contains(said, "stack exceeds"):
		return fmt.Errorf("render %s: it nests without end: a template or a value may contain itself", r.In.Path)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	return &Fault{fmt.Errorf("render %s: the process that renders ended (%w, %w): %s", r.In.Path, cause, errors.Join(err), first)}
}

// words keeps the beginning of what a process says on standard error.
type words struct {
	mu   sync.Mutex
	text []byte
}

const maxWords = 4 << 10

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p[:min(len(p), maxWords-len(w.text))]...)
	return len(p), nil
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}
