package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken below the kernel's ephemeral range (32768 and up), so that
// no outgoing connection occupies one while its cluster is stopped. The start
// is random, which keeps test packages that run side by side apart.
const (
	firstPort = 20000
	lastPort  = 32000
)

func choosePorts(taken map[int]bool) (Ports, error) {
	chosen, err := freePorts(6, taken)
	if err != nil {
		return Ports{}, err
	}
	return Ports{APIServer: chosen[0], Etcd: chosen[1], EtcdPeer: chosen[2], Kubelet: chosen[3], Outside: chosen[4], Proxy: chosen[5]}, nil
}

func freePorts(n int, taken map[int]bool) ([]int, error) {
	next := firstPort + rand.IntN(lastPort-firstPort)
	var chosen []int
	for tries := 0; tries < lastPort-firstPort && len(chosen) < n; tries++ {
		if !taken[next] && portFree(next) {
			chosen = append(chosen, next)
		}
		if next++; next == lastPort {
			next = firstPort
		}
	}
	if len(chosen) < n {
		return nil, errors.New("find free ports: none left between 20000 and 32000")
	}
	return chosen, nil
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func portsTaken(states []State) map[int]bool {
	taken := map[int]bool{}
	for _, s := range states {
		for _, p := range []int{s.Ports.APIServer, s.Ports.Etcd, s.Ports.EtcdPeer, s.Ports.Kubelet, s.Ports.Outside, s.Ports.Proxy} {
			taken[p] = true
		}
	}
	return taken
}
