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
	next := firstPort + rand.IntN(lastPort-firstPort)
	var chosen [4]int
	found := 0
	for tries := 0; tries < lastPort-firstPort && found < len(chosen); tries++ {
		if !taken[next] && portFree(next) {
			chosen[found] = next
			found++
		}
		if next++; next == lastPort {
			next = firstPort
		}
	}
	if found < len(chosen) {
		return Ports{}, errors.New("find free ports: none left between 20000 and 32000")
	}
	return Ports{APIServer: chosen[0], Etcd: chosen[1], EtcdPeer: chosen[2], Kubelet: chosen[3]}, nil
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
		for _, p := range []int{s.Ports.APIServer, s.Ports.Etcd, s.Ports.EtcdPeer, s.Ports.Kubelet} {
			taken[p] = true
		}
	}
	return taken
}
