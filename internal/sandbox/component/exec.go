package component

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// notFound is a shell's exit code for a command that does not exist.
const notFound = 127

// shell answers commands for one container from what its pod's spec says.
// Nothing is ever run: neither on this machine nor anywhere else.
type shell struct {
	pod       *corev1.Pod
	container *corev1.Container
	// env is asked for only when a command needs it: it reads the API.
	env func(context.Context) (map[string]string, error)
	// files of one of the pod's volumes, likewise.
	files func(context.Context, corev1.Volume) (map[string]file, error)
}

// result is what a command prints, and how it ends.
type result struct {
	out, err string
	code     int
}

func (s *shell) run(ctx context.Context, command []string) result {
	if len(command) == 0 {
		return result{err: "no command\n", code: notFound}
	}
	name, args := command[0], command[1:]
	switch name[strings.LastIndexByte(name, '/')+1:] {
	case "true":
		return result{}
	case "false":
		return result{code: 1}
	case "echo":
		return result{out: strings.Join(args, " ") + "\n"}
	case "hostname":
		return result{out: s.hostname() + "\n"}
	case "ps":
		return result{out: "PID   COMMAND\n    1 " + strings.Join(slices.Concat([]string{s.container.Image}, s.container.Command, s.container.Args), " ") + " (simulated)\n"}
	case "env", "printenv":
		return s.printEnv(ctx, args)
	case "cat":
		return s.cat(ctx, args)
	case "ls":
		return s.ls(ctx, args)
	case "sh", "bash", "ash":
		return s.interpret(ctx, args)
	}
	return result{code: notFound, err: fmt.Sprintf("%s: not found: container %s is simulated, and no program runs in it. "+
		"It answers cat and ls of its volumes, echo, env, false, hostname, ps, true, and sh -c with one of them.\n", name, s.container.Name)}
}

func (s *shell) interpret(ctx context.Context, args []string) result {
	if len(args) != 2 || args[0] != "-c" {
		return result{code: notFound, err: "the container is simulated: there is no shell to talk to, only sh -c with one command\n"}
	}
	command, err := words(args[1])
	if err != nil {
		return result{code: 2, err: fmt.Sprintf("sh: %v: the container is simulated\n", err)}
	}
	if len(command) == 0 {
		return result{}
	}
	return s.run(ctx, command)
}

func (s *shell) hostname() string {
	switch {
	case s.pod.Spec.HostNetwork:
		return s.pod.Spec.NodeName
	case s.pod.Spec.Hostname != "":
		return s.pod.Spec.Hostname
	}
	return s.pod.Name
}

func (s *shell) printEnv(ctx context.Context, args []string) result {
	env, err := s.env(ctx)
	if err != nil {
		return result{err: fmt.Sprintf("env: %v\n", err), code: 1}
	}
	if len(args) == 1 {
		value, set := env[args[0]]
		if !set {
			return result{code: 1}
		}
		return result{out: value + "\n"}
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&out, "%s=%s\n", name, env[name])
	}
	return result{out: out.String()}
}

// ExecInContainer is called by the streaming server once its streams are open.
func (s *shell) ExecInContainer(ctx context.Context, _, _, _ string, command []string, _ io.Reader, stdout, stderr io.WriteCloser, tty bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	r := s.run(ctx, command)
	if err := printResult(r, stdout, stderr, tty); err != nil {
		return err
	}
	if r.code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command ended with exit code %d", r.code), Code: r.code}
	}
	return nil
}

// AttachContainer says what there is to attach to.
func (s *shell) AttachContainer(_ context.Context, _, _, _ string, _ io.Reader, stdout, stderr io.WriteCloser, tty bool, _ <-chan remotecommand.TerminalSize) error {
	return printResult(result{err: "container " + s.container.Name + " is simulated: it has no terminal and reads nothing; what it says is in its log\n"}, stdout, stderr, tty)
}

// printResult writes to what the caller opened: a terminal has one stream, on
// which lines end as terminals expect.
func printResult(r result, stdout, stderr io.Writer, tty bool) error {
	if tty {
		r.out, r.err = strings.ReplaceAll(r.out+r.err, "\n", "\r\n"), ""
	}
	var errs []error
	for _, stream := range []struct {
		to   io.Writer
		text string
	}{{stdout, r.out}, {stderr, r.err}} {
		if stream.text != "" && stream.to != nil {
			_, err := io.WriteString(stream.to, stream.text)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
