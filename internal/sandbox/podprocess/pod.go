package podprocess

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// retry is when something that the API refused is tried again.
	retry = time.Second
	// linger is how long the files of a pod that is gone are kept, for whoever
	// follows its log.
	linger = 5 * time.Second
	// refresh is how often volumes are brought to what the API says, as by a kubelet.
	refresh = time.Minute
)

// pod is one pod, from when it has a node until the API has it no more.
type pod struct {
	kubelet *Kubelet
	name    types.NamespacedName
	uid     types.UID
	dir     string

	changed chan struct{} // something below, or of a container, is new

	mu         sync.Mutex
	now        *corev1.Pod // as it was last Set
	lost       bool        // the API has it no more
	containers []*container
	volumes    *volumes
	told       string // the status that the API was told last
	conditions conditionTimes
}

func newPod(k *Kubelet, now *corev1.Pod) *pod {
	return &pod{
		kubelet: k, uid: now.UID, dir: k.podDir(now.UID),
		name:    types.NamespacedName{Namespace: now.Namespace, Name: now.Name},
		changed: make(chan struct{}, 1), conditions: conditionTimes{},
	}
}

func (p *pod) set(now *corev1.Pod) {
	p.mu.Lock()
	p.now = now
	p.mu.Unlock()
	p.touch()
}

func (p *pod) gone() {
	p.mu.Lock()
	p.lost = true
	p.mu.Unlock()
	p.touch()
}

func (p *pod) touch() {
	select {
	case p.changed <- struct{}{}:
	default: // it will look anyway
	}
}

// state is how the pod is, and whether it is to end.
func (p *pod) state() (now *corev1.Pod, leaving, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.lost || p.now.DeletionTimestamp != nil, p.lost
}

// run works until the pod is gone from the API.
func (p *pod) run(ctx context.Context) {
	defer p.kubelet.forget(p.uid)
	whole, err := p.begin(ctx)
	if err != nil {
		p.complain(err)
	}
	if ctx.Err() != nil {
		return
	}
	p.depart(ctx, whole)
	sleep(ctx, linger)
	if err := os.RemoveAll(p.dir); err != nil {
		p.complain(err)
	}
}

// begin waits until it is the containers' turn, and runs them until the pod
// leaves. It returns the pod when it ran.
func (p *pod) begin(ctx context.Context) (*corev1.Pod, error) {
	if !p.await(ctx, func(now *corev1.Pod) bool { return initialized(now) && now.Status.PodIP != "" }) {
		return nil, nil
	}
	whole := p.whole(ctx)
	if whole == nil {
		return nil, nil
	}
	if whole.Status.Phase == corev1.PodSucceeded || whole.Status.Phase == corev1.PodFailed {
		p.await(ctx, func(*corev1.Pod) bool { return false }) // it ran before
		return nil, nil
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		p.await(ctx, func(*corev1.Pod) bool { return false })
		return nil, err
	}
	p.work(ctx, whole)
	return whole, nil
}

// whole is the pod with its spec, or nil when it went.
func (p *pod) whole(ctx context.Context) *corev1.Pod {
	for failed := ""; ; {
		found, err := p.kubelet.Client.CoreV1().Pods(p.name.Namespace).Get(ctx, p.name.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && found.UID != p.uid {
			p.gone()
			return nil
		}
		if err == nil {
			return found
		}
		failed = p.complainOnce("read it", err, failed)
		if !sleep(ctx, retry) {
			return nil
		}
	}
}

// await returns false when the pod is to end first.
func (p *pod) await(ctx context.Context, ok func(*corev1.Pod) bool) bool {
	for {
		now, leaving, _ := p.state()
		switch {
		case leaving:
			return false
		case ok(now):
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-p.changed:
		}
	}
}

// work runs the containers, tells what becomes of them, and returns when the
// pod leaves and they have ended.
func (p *pod) work(ctx context.Context, whole *corev1.Pod) {
	p.mu.Lock()
	p.volumes = &volumes{client: p.kubelet.Client, pod: whole, dir: filepath.Join(p.dir, "volumes"), renew: map[string]time.Time{}}
	for _, spec := range whole.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, whole, spec))
	}
	p.mu.Unlock()
	running, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	for _, c := range p.containers {
		if c.runs {
			group.Go(func() { c.run(running) })
		}
	}
	go p.keepVolumes(running)
	p.follow(ctx, whole)
	stop()
	group.Wait()
}

// follow tells of every change until the pod leaves.
func (p *pod) follow(ctx context.Context, whole *corev1.Pod) {
	again := time.NewTicker(retry)
	defer again.Stop()
	failed := ""
	for {
		err := p.tell(ctx, whole)
		if _, leaving, _ := p.state(); leaving || ctx.Err() != nil {
			return
		}
		failed = p.complainOnce("tell its status", err, failed)
		var tick <-chan time.Time
		if err != nil {
			tick = again.C
		}
		select {
		case <-ctx.Done():
		case <-p.changed:
		case <-tick:
		}
	}
}

// keepVolumes follows what changes in the API, above all tokens.
func (p *pod) keepVolumes(ctx context.Context) {
	for sleep(ctx, refresh) {
		if err := p.writeVolumes(ctx); err != nil && ctx.Err() == nil {
			p.complain(err)
		}
	}
}

func (p *pod) writeVolumes(ctx context.Context) error {
	p.volumes.mu.Lock()
	defer p.volumes.mu.Unlock()
	return p.volumes.write(ctx)
}

// tell writes the pod's status, if it is another than the last time.
func (p *pod) tell(ctx context.Context, whole *corev1.Pod) error {
	p.mu.Lock()
	status := statusOf(p.now, p.statuses(), whole.Spec.RestartPolicy)
	p.conditions.stamp(status.Conditions, time.Now())
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.uid}, "status": status})
	skip := string(patch) == p.told || p.lost
	p.mu.Unlock()
	if err != nil || skip {
		return err
	}
	_, err = p.kubelet.Client.CoreV1().Pods(p.name.Namespace).Patch(ctx, p.name.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kubelet"}, "status")
	if err == nil {
		p.mu.Lock()
		p.told = string(patch)
		p.mu.Unlock()
	}
	return p.unlessGone(err)
}

// statuses are the containers', in the order of the spec; p.mu is held.
func (p *pod) statuses() []corev1.ContainerStatus {
	out := make([]corev1.ContainerStatus, 0, len(p.containers))
	for _, c := range p.containers {
		out = append(out, *c.status.DeepCopy())
	}
	return out
}

// delete tells the API that nothing of the pod is left.
func (p *pod) delete(ctx context.Context) error {
	if _, _, lost := p.state(); lost {
		return nil
	}
	none := int64(0)
	return p.unlessGone(p.kubelet.Client.CoreV1().Pods(p.name.Namespace).Delete(ctx, p.name.Name,
		metav1.DeleteOptions{GracePeriodSeconds: &none, Preconditions: &metav1.Preconditions{UID: &p.uid}}))
}

// unlessGone notes that the API has the pod no more, or another of its name.
func (p *pod) unlessGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		p.gone()
		return nil
	}
	return err
}

// depart tells how the containers ended, and that nothing of the pod is left.
func (p *pod) depart(ctx context.Context, whole *corev1.Pod) {
	for failed := ""; ; {
		var err error
		if whole != nil {
			err = p.tell(ctx, whole)
		}
		if gone := p.delete(ctx); gone == nil || ctx.Err() != nil {
			return
		} else {
			err = errors.Join(err, gone)
		}
		failed = p.complainOnce("delete it", err, failed)
		if !sleep(ctx, retry) {
			return
		}
	}
}

// complainOnce says what is new, and returns what was said last.
func (p *pod) complainOnce(what string, err error, last string) string {
	if err == nil {
		return ""
	}
	if text := err.Error(); text != last {
		p.complain(fmt.Errorf("%s: %w", what, err))
	}
	return err.Error()
}

// complain writes into the log of whoever runs the kubelet.
func (p *pod) complain(err error) { fmt.Fprintf(os.Stderr, "pod %s: %v\n", p.name, err) }

// grace is how long the containers have to end.
func (p *pod) grace() time.Duration {
	now, _, _ := p.state()
	seconds := now.DeletionGracePeriodSeconds
	if seconds == nil {
		seconds = now.Spec.TerminationGracePeriodSeconds
	}
	if seconds == nil {
		return corev1.DefaultTerminationGracePeriodSeconds * time.Second
	}
	return max(time.Duration(*seconds)*time.Second, time.Second)
}

func (p *pod) log(name string, previous bool) ([]Line, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.containers {
		if c.spec.Name == name {
			return c.said(previous)
		}
	}
	return nil, errors.New("the pod's containers have not begun")
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
