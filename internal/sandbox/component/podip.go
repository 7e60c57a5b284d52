package component

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"atoll.dev/atoll/internal/sandbox"
)

// podAddresses deals out the addresses of a cluster's pod range in rising
// order, so that one is not given out again soon after its pod has gone. It
// asks the API which are taken at its start and after each round.
type podAddresses struct {
	list func() (map[netip.Addr]bool, error)
	size uint32
	base uint32
	node func(name string) string

	mu    sync.Mutex
	next  uint32
	taken map[netip.Addr]bool
}

func newPodAddresses(ctx context.Context, client kubernetes.Interface, state sandbox.State) (*podAddresses, error) {
	nodeIPs := map[string]string{}
	for n := range state.Spec.Nodes {
		nodeIPs[nodeName(state.Spec, n)] = state.NodeIP(n)
	}
	a, err := newAddresses(state.PodCIDR(), func() (map[netip.Addr]bool, error) { return addressesInUse(ctx, client) })
	if err != nil {
		return nil, err
	}
	a.node = func(name string) string {
		if ip, ok := nodeIPs[name]; ok {
			return ip
		}
		return "127.0.0.1" // a node that a user added
	}
	return a, nil
}

func newAddresses(cidr string, list func() (map[netip.Addr]bool, error)) (*podAddresses, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return nil, fmt.Errorf("pod range: %w", err)
	}
	bytes := prefix.Masked().Addr().As4()
	a := &podAddresses{list: list, base: binary.BigEndian.Uint32(bytes[:]), size: 1 << (32 - prefix.Bits())}
	if a.taken, err = list(); err != nil {
		return nil, fmt.Errorf("list pod addresses in use: %w", err)
	}
	for address := range a.taken {
		if prefix.Contains(address) {
			b := address.As4()
			a.next = max(a.next, binary.BigEndian.Uint32(b[:])-a.base+1)
		}
	}
	return a, nil
}

// forPod has the signature of the KWOK template function that it replaces:
// KWOK's own pool forgets at a restart what it had given out.
func (a *podAddresses) forPod(node string, hostNetwork bool, _, _, _ string) ([]string, error) {
	if hostNetwork {
		return []string{a.node(node)}, nil
	}
	ip, err := a.take()
	if err != nil {
		return nil, err
	}
	return []string{ip.String()}, nil
}

func (a *podAddresses) take() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// Neither the network address nor the gateway, nor the broadcast address.
	const first = 2
	for range 2 {
		for a.next = max(a.next, first); a.next < a.size-1; a.next++ {
			var bytes [4]byte
			binary.BigEndian.PutUint32(bytes[:], a.base+a.next)
			if ip := netip.AddrFrom4(bytes); !a.taken[ip] {
				a.next++
				return ip, nil
			}
		}
		taken, err := a.list()
		if err != nil {
			return netip.Addr{}, fmt.Errorf("list pod addresses in use: %w", err)
		}
		a.taken, a.next = taken, first
	}
	return netip.Addr{}, errors.New("the pod range is exhausted")
}

func addressesInUse(ctx context.Context, client kubernetes.Interface) (map[netip.Addr]bool, error) {
	taken := map[netip.Addr]bool{}
	options := metav1.ListOptions{Limit: 500}
	for {
		pods, err := client.CoreV1().Pods("").List(ctx, options)
		if err != nil {
			return nil, err
		}
		for _, pod := range pods.Items {
			if ip, err := netip.ParseAddr(pod.Status.PodIP); err == nil && ip.Is4() {
				taken[ip] = true
			}
		}
		if options.Continue = pods.Continue; options.Continue == "" {
			return taken, nil
		}
	}
}
