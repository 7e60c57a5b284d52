package podprocess

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// The reasons for which a kubelet lets a container wait.
const (
	creating      = "ContainerCreating"
	misconfigured = "CreateContainerConfigError"
	pullFailed    = "ErrImagePull"
	pullBackOff   = "ImagePullBackOff"
	crashBackOff  = "CrashLoopBackOff"
	startFailed   = "RunContainerError"
)

// container is one container of a pod.
type container struct {
	pod  *pod
	of   *corev1.Pod
	spec corev1.Container
	dir  string
	runs bool

	// Guarded by the pod.
	status corev1.ContainerStatus
	began  int32 // the number of the last run that has a log, from 0
}

// newContainer goes on from what the pod's status says of its past.
func newContainer(p *pod, of *corev1.Pod, spec corev1.Container) *container {
	c := &container{pod: p, of: of, spec: spec, dir: filepath.Join(p.dir, spec.Name), began: -1}
	_, c.runs = tagOf(spec.Image)
	c.status = corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, ImageID: spec.Image}
	no, now := false, metav1.Now()
	c.status.Started = &no
	c.status.State.Waiting = &corev1.ContainerStateWaiting{Reason: creating}
	if !c.runs { // it is simulated, and so always well
		yes := true
		c.status.Ready, c.status.Started = true, &yes
		c.status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		return c
	}
	i := slices.IndexFunc(of.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == spec.Name })
	if i < 0 {
		return c
	}
	past := of.Status.ContainerStatuses[i]
	c.status.RestartCount, c.status.LastTerminationState = past.RestartCount, past.LastTerminationState
	if run := past.State.Running; run != nil {
		c.status.RestartCount++
		c.status.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 137, Reason: "Error", Message: "the simulation of its node ended", StartedAt: run.StartedAt, FinishedAt: now,
		}}
	} else if past.State.Terminated != nil || past.LastTerminationState.Terminated != nil {
		c.status.RestartCount++
	}
	c.began = c.status.RestartCount - 1
	return c
}

func (c *container) logPath(run int32) string {
	return filepath.Join(c.dir, strconv.Itoa(int(run))+".log")
}

// said is the log of the present run, or of the last; the previous one is
// that before the present run.
func (c *container) said(previous bool) ([]Line, error) {
	run := c.began
	if previous && c.status.State.Running != nil {
		run--
	}
	if previous && run < 0 {
		return nil, fmt.Errorf("previous terminated container %q in pod %q not found", c.spec.Name, c.pod.name.Name)
	}
	return readLog(c.logPath(run))
}

// change changes the status and has it told.
func (c *container) change(to func(*corev1.ContainerStatus)) {
	c.pod.mu.Lock()
	to(&c.status)
	c.pod.mu.Unlock()
	c.pod.touch()
}

// run starts the container as often as its pod's policy wants, until ctx ends.
func (c *container) run(ctx context.Context) {
	for refusals, crashes := 0, 0; ; {
		l, p, err := c.start(ctx)
		if err != nil {
			c.refuse(err, refusals)
			if !sleep(ctx, backOff(refusals)) {
				return
			}
			refusals++
			continue
		}
		refusals = 0
		began := time.Now()
		c.event(corev1.EventTypeNormal, "Started", "Started container "+c.spec.Name)
		c.change(func(s *corev1.ContainerStatus) {
			s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(began)}}
		})
		code := c.await(ctx, l, p)
		c.ended(code, began)
		if ctx.Err() != nil || !restarts(c.of.Spec.RestartPolicy, code) {
			return
		}
		if time.Since(began) > healthyAfter {
			crashes = 0
		}
		if !c.pause(ctx, crashes) {
			return
		}
		crashes++
	}
}

// await asks the probes and returns how the process ended.
func (c *container) await(ctx context.Context, l launch, p *process) int32 {
	watched, stop := context.WithCancel(ctx)
	dead := make(chan error, 1)
	var group sync.WaitGroup
	group.Go(func() { c.watch(watched, l, dead) })
	defer group.Wait() // what it changes comes before what the end changes
	defer stop()
	select {
	case code := <-p.ended:
		return int32(code)
	case why := <-dead:
		c.event(corev1.EventTypeWarning, "Unhealthy", "Probe failed, so it is started again: "+why.Error())
		return int32(p.stop(c.pod.grace()))
	case <-ctx.Done():
		return int32(p.stop(c.pod.grace()))
	}
}

func (c *container) ended(code int32, began time.Time) {
	reason := "Error"
	if code == 0 {
		reason = "Completed"
	}
	c.change(func(s *corev1.ContainerStatus) {
		no := false
		s.Started, s.Ready = &no, false
		s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, Reason: reason, StartedAt: metav1.NewTime(began), FinishedAt: metav1.Now(),
		}}
	})
}

// pause waits before the next start, and counts it.
func (c *container) pause(ctx context.Context, crashes int) bool {
	wait := backOff(crashes)
	if crashes > 0 {
		text := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", wait, c.spec.Name, c.pod.name)
		c.event(corev1.EventTypeWarning, "BackOff", text)
		c.change(func(s *corev1.ContainerStatus) {
			s.LastTerminationState = s.State
			s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: crashBackOff, Message: text}}
		})
	}
	if !sleep(ctx, wait) {
		return false
	}
	c.change(func(s *corev1.ContainerStatus) {
		if s.State.Terminated != nil {
			s.LastTerminationState = s.State
		}
		s.RestartCount++
	})
	return true
}

// refused is why a container cannot start, in a kubelet's words.
type refused struct {
	reason string
	error
}

func (c *container) refuse(err error, refusals int) {
	reason := startFailed
	if r := (refused{}); errors.As(err, &r) {
		reason = r.reason
	}
	if reason == pullFailed && refusals > 0 {
		reason = pullBackOff
	}
	if refusals == 0 {
		event := "Failed"
		if reason == creating {
			event = "FailedMount"
		}
		c.event(corev1.EventTypeWarning, event, err.Error())
	}
	c.change(func(s *corev1.ContainerStatus) {
		if s.State.Terminated != nil {
			s.LastTerminationState = s.State
		}
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: err.Error()}}
	})
}

func (c *container) event(kind, reason, text string) {
	c.pod.kubelet.events.Event(c.of, kind, reason, text)
}

// start does what a kubelet does before a container runs, and starts it.
func (c *container) start(ctx context.Context) (launch, *process, error) {
	l, err := c.prepare(ctx)
	if err != nil {
		return l, nil, err
	}
	p, err := start(l)
	return l, p, err
}

func (c *container) prepare(ctx context.Context) (launch, error) {
	r := root(filepath.Join(c.dir, "root"))
	l := launch{dir: string(r)}
	var err error
	if l.path, err = c.pod.kubelet.images.pull(ctx, c.spec.Image, c.spec.ImagePullPolicy); err != nil {
		return l, refused{pullFailed, err}
	}
	if err := c.pod.writeVolumes(ctx); err != nil {
		return l, refused{creating, err}
	}
	if err := r.mount(c.spec.VolumeMounts, c.pod.volumes.dir); err != nil {
		return l, refused{creating, err}
	}
	own, err := c.pod.kubelet.Resolve(ctx, c.of, &c.spec)
	if err != nil {
		return l, refused{misconfigured, err}
	}
	for name, value := range own {
		if value == c.of.Status.PodIP {
			own[name] = here(c.of) // where it can listen
		}
	}
	l.env = r.environment(c.pod.kubelet.Environment, own)
	if l.args, err = c.arguments(r, own); err != nil {
		return l, refused{misconfigured, err}
	}
	l.log, err = c.openLog()
	return l, err
}

// arguments are the pod's for the one program that its image has.
func (c *container) arguments(r root, env map[string]string) ([]string, error) {
	words := slices.Clone(c.spec.Args)
	if len(c.spec.Command) > 0 {
		own, err := commandLine(c.spec.Command)
		if err != nil {
			return nil, err
		}
		words = slices.Concat(own, words)
	}
	expand := expansion.MappingFuncFor(env)
	for i := range words {
		words[i] = expansion.Expand(words[i], expand)
	}
	return r.words(words)
}

// commandLine is a command without the program, which must be ours.
func commandLine(command []string) ([]string, error) {
	if path.Base(command[0]) != program {
		return nil, fmt.Errorf("command %q: the image has %s and nothing else", command[0], program)
	}
	return command[1:], nil
}

// openLog begins a log for this run; the one before is kept beside it.
func (c *container) openLog() (*journal, error) {
	c.pod.mu.Lock()
	run := c.status.RestartCount
	c.began = run
	c.pod.mu.Unlock()
	if err := os.Remove(c.logPath(run - 2)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return newJournal(c.logPath(run))
}
