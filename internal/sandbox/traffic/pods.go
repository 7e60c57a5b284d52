package traffic

import (
	"fmt"
	"log"
	"net/netip"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pods listens for the pods of one cluster. All methods are safe for use from
// several goroutines.
type Pods struct {
	cluster string
	within  netip.Prefix
	errors  *log.Logger

	mu    sync.Mutex
	pods  map[types.NamespacedName]*pod
	doors map[netip.AddrPort]*door // by the address that pod and port declare
	// leaving are doors that close in a moment, unless their pod is ready again.
	leaving map[netip.AddrPort]*door
}

// pod is one pod that was ready at least once.
type pod struct {
	uid        types.UID
	containers map[string]*container
	doors      []netip.AddrPort
	refused    map[netip.AddrPort]bool // said so in the log already
}

// NewPods listens for a cluster's pods inside its loopback range.
func NewPods(cluster string, within netip.Prefix) *Pods {
	return &Pods{
		cluster: cluster, within: within,
		errors: log.New(os.Stderr, "pods: ", log.LstdFlags),
		pods:   map[types.NamespacedName]*pod{}, doors: map[netip.AddrPort]*door{}, leaving: map[netip.AddrPort]*door{},
	}
}

// Set takes note of how a pod is now. It listens at the declared TCP ports of
// a pod that runs and is ready; when that has changed, connections in flight
// have the pod's grace period to end.
func (p *Pods) Set(now *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := types.NamespacedName{Namespace: now.Namespace, Name: now.Name}
	have := p.pods[name]
	if have != nil && have.uid != now.UID { // a pod of a StatefulSet came again
		p.close(have, defaultGrace)
		have = nil
	}
	ready := isReady(now)
	if ready && have == nil {
		have = &pod{uid: now.UID, containers: map[string]*container{}, refused: map[netip.AddrPort]bool{}}
		p.pods[name] = have
	}
	switch {
	case ready:
		p.open(have, now)
	case have != nil:
		p.close(have, graceOf(now))
	}
}

// Remove forgets a pod that is no more, with its log.
func (p *Pods) Remove(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := p.pods[name]; have != nil {
		p.close(have, defaultGrace)
		delete(p.pods, name)
	}
}

// Log is what a container said of its requests up to now, oldest first.
func (p *Pods) Log(uid types.UID, name types.NamespacedName, containerName string, now time.Time) []Line {
	if c := p.container(uid, name, containerName); c != nil {
		return c.journal.until(now)
	}
	return nil
}

// Served is how many requests a container answered in the last usage.Window.
func (p *Pods) Served(uid types.UID, name types.NamespacedName, containerName string, now time.Time) int64 {
	if c := p.container(uid, name, containerName); c != nil {
		return c.meter.until(now)
	}
	return 0
}

// container is nil for one that was never ready.
func (p *Pods) container(uid types.UID, name types.NamespacedName, containerName string) *container {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have := p.pods[name]; have != nil && have.uid == uid {
		return have.containers[containerName]
	}
	return nil
}

// open listens at each port that is not listened at yet. One that something
// else on this machine has is tried again with every call.
func (p *Pods) open(have *pod, now *corev1.Pod) {
	ip, ok := loopbackOf(now.Status.PodIP, p.within)
	if !ok {
		return
	}
	for _, spec := range now.Spec.Containers {
		c := have.containers[spec.Name]
		if c == nil {
			c = &container{identity: Answer{
				Cluster: p.cluster, Namespace: now.Namespace, Pod: now.Name, Node: now.Spec.NodeName,
				Image: spec.Image, Container: spec.Name,
			}}
			have.containers[spec.Name] = c
		}
		for _, port := range spec.Ports {
			key := netip.AddrPortFrom(ip, uint16(port.ContainerPort))
			if isTCP(port.Protocol) && p.doors[key] == nil {
				p.openDoor(have, key, c)
			}
		}
	}
}

func (p *Pods) openDoor(have *pod, key netip.AddrPort, c *container) {
	if old := p.leaving[key]; old != nil && old.owner == c && old.closing.Stop() {
		delete(p.leaving, key)
		p.doors[key], have.doors = old, append(have.doors, key)
		return
	}
	wanted := int32(key.Port())
	listener, err := listen(key.Addr(), wanted)
	if err != nil {
		if !have.refused[key] {
			have.refused[key] = true
			c.journal.add(fmt.Sprintf("port %d is not served: %v", wanted, err))
		}
		return
	}
	if portOf(listener) != wanted {
		c.journal.add(fmt.Sprintf("port %d is served at %s: only root may listen below %d", wanted, listener.Addr(), firstFreePort))
	}
	p.doors[key], have.doors = newDoor(listener, c, wanted, p.errors), append(have.doors, key)
}

// close takes a pod's ports out of all balancing now, and closes them after
// the moment in which somebody may already be connecting.
func (p *Pods) close(have *pod, grace time.Duration) {
	for _, key := range have.doors {
		d := p.doors[key]
		delete(p.doors, key)
		p.leaving[key] = d
		d.closing = time.AfterFunc(linger, func() {
			p.mu.Lock()
			if p.leaving[key] == d {
				delete(p.leaving, key)
			}
			d.listener.Close()
			p.mu.Unlock()
			d.drain(grace)
		})
	}
	have.doors = nil
}

// Where is the place on loopback at which a pod's port is listened for, if it
// is: what a balancer or a forwarded port connects to.
func (p *Pods) Where(podIP string, port int32) (netip.AddrPort, bool) {
	ip, ok := loopbackOf(podIP, p.within)
	if !ok {
		return netip.AddrPort{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.doors[netip.AddrPortFrom(ip, uint16(port))]
	if d == nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, uint16(portOf(d.listener))), true
}

const defaultGrace = corev1.DefaultTerminationGracePeriodSeconds * time.Second

func graceOf(pod *corev1.Pod) time.Duration {
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return defaultGrace
}

func isTCP(protocol corev1.Protocol) bool { return protocol == "" || protocol == corev1.ProtocolTCP }

// isReady is whether a pod should be listened for.
func isReady(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		return false
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
