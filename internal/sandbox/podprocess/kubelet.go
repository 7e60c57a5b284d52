package podprocess

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// Options are what a Kubelet needs to know of its cluster.
type Options struct {
	Client kubernetes.Interface
	// Dir holds what belongs to pods and the programs of their images.
	Dir string
	// Programs is the folder that stands for all registries.
	Programs string
	// Environment is what every container finds, such as where the API server is.
	Environment map[string]string
	// Resolve is the environment that a pod's spec gives one of its containers.
	Resolve func(context.Context, *corev1.Pod, *corev1.Container) (map[string]string, error)
}

// Kubelet runs the pods of one cluster that are run at all. It may go on while
// the API server is away, and tells it then what has become of them.
type Kubelet struct {
	Options
	ctx    context.Context
	images *images
	events record.EventRecorder

	mu   sync.Mutex
	pods map[types.UID]*pod
}

// New is a kubelet without pods, which ends with ctx.
func New(ctx context.Context, o Options) *Kubelet {
	events := record.NewBroadcaster(record.WithContext(ctx))
	events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: o.Client.CoreV1().Events("")})
	return &Kubelet{
		Options: o, ctx: ctx,
		images: &images{from: o.Programs, kept: filepath.Join(o.Dir, "images")},
		events: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet"}),
		pods:   map[types.UID]*pod{},
	}
}

// Set takes note of how a pod is now, of which no more than its metadata, its
// node and its status need be there.
func (k *Kubelet) Set(now *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pods[now.UID]
	if p == nil {
		if now.Spec.NodeName == "" {
			return // nobody's pod yet
		}
		p = newPod(k, now)
		k.pods[now.UID] = p
		go p.run(k.ctx)
	}
	p.set(now)
}

// Remove ends what is left of a pod that the API has no more.
func (k *Kubelet) Remove(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.pods[uid]; p != nil {
		p.gone()
	}
}

func (k *Kubelet) forget(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.pods, uid)
}

func (k *Kubelet) podDir(uid types.UID) string { return filepath.Join(k.Dir, "pods", string(uid)) }

// Sweep removes the files of pods that went while nobody looked. It is called
// when every pod has been Set once.
func (k *Kubelet) Sweep() error {
	entries, err := os.ReadDir(filepath.Join(k.Dir, "pods"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	errs := []error{err}
	for _, entry := range entries {
		if uid := types.UID(entry.Name()); k.pods[uid] == nil {
			errs = append(errs, os.RemoveAll(k.podDir(uid)))
		}
	}
	return errors.Join(errs...)
}

// Log is what a container of a pod has said, oldest first: in its present or
// last run or, when asked so, in the one before. It is an error that there was none.
func (k *Kubelet) Log(uid types.UID, container string, previous bool) ([]Line, error) {
	k.mu.Lock()
	p := k.pods[uid]
	k.mu.Unlock()
	if p == nil {
		return nil, errors.New("the pod does not run")
	}
	return p.log(container, previous)
}
