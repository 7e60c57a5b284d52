package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxClusters is bounded by the second byte of the address ranges: pods take
// 10.16 to 10.127, services 10.128 to 10.239, and what listens on this
// machine 127.16 to 127.127.
const maxClusters = 112

// State is what is recorded of one cluster, in its state.json. The simulated
// kubelets read it too.
type State struct {
	Spec ClusterSpec `json:"spec"`
	// Index is unique on a machine; the address ranges derive from it.
	Index     int                `json:"index"`
	Ports     Ports              `json:"ports"`
	Created   time.Time          `json:"created"`
	Processes map[string]Process `json:"processes,omitempty"`
	// Faults are what is wrong with the cluster on purpose.
	Faults []Fault `json:"faults,omitempty"`
}

// Ports are a cluster's TCP ports, chosen once and kept.
type Ports struct {
	APIServer int `json:"apiServer"`
	Etcd      int `json:"etcd"`
	EtcdPeer  int `json:"etcdPeer"`
	Kubelet   int `json:"kubelet"`
	// Outside and Proxy are the edge's: the API server for what comes in, and
	// the HTTP CONNECT proxy for what dials out.
	Outside int `json:"outside"`
	Proxy   int `json:"proxy"`
}

// PodCIDR is the range that pod addresses come from. A pod at 10.a.b.c is
// listened for at 127.a.b.c, so the range is clear of those of nodes and load
// balancers in all but its first byte.
func (s State) PodCIDR() string { return fmt.Sprintf("10.%d.128.0/17", 16+s.Index) }

// LoadBalancerCIDR is the loopback range that load balancers listen in.
func (s State) LoadBalancerCIDR() string { return fmt.Sprintf("127.%d.64.0/18", 16+s.Index) }

// LoopbackCIDR is where everything of the cluster that carries traffic
// listens: nodes in its first quarter, then load balancers, then pods.
func (s State) LoopbackCIDR() string { return fmt.Sprintf("127.%d.0.0/16", 16+s.Index) }

// ServiceCIDR is the range that cluster IPs come from.
func (s State) ServiceCIDR() string { return fmt.Sprintf("10.%d.0.0/16", 128+s.Index) }

// Server is the URL of the cluster's API for what is inside: no fault of the
// network is between.
func (s State) Server() string { return fmt.Sprintf("https://127.0.0.1:%d", s.Ports.APIServer) }

// OutsideServer is the URL of the cluster's API for everything else.
func (s State) OutsideServer() string { return fmt.Sprintf("https://127.0.0.1:%d", s.Ports.Outside) }

// ProxyURL is the HTTP CONNECT proxy by which the cluster dials out.
func (s State) ProxyURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.Ports.Proxy) }

// NodeIP is the loopback address of node n, counted from 0.
func (s State) NodeIP(n int) string {
	return fmt.Sprintf("127.%d.%d.%d", 16+s.Index, (n+1)/250, (n+1)%250+1)
}

// MetricsIP is the loopback address at which the cluster's usage is told, at
// the kubelets' port. It is the one before the first node's.
func (s State) MetricsIP() string { return fmt.Sprintf("127.%d.0.1", 16+s.Index) }

// ReadState reads a state.json. The error is fs.ErrNotExist when there is none.
func ReadState(path string) (State, error) {
	var s State
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// writeState replaces the file in one step: a reader never sees half of it.
func writeState(path string, s State) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(path, append(data, '\n'))
}

func replaceFile(path string, data []byte) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// lock keeps two commands from changing the same fleet at once. The kernel
// drops it with the process, so nothing stale can remain.
func (f *Fleet) lock() (unlock func(), err error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, fmt.Errorf("create sandbox directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(f.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock sandbox %s: %w", f.dir, err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		if f.OnBusy != nil {
			f.OnBusy()
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock sandbox %s: %w", f.dir, err)
	}
	return func() { file.Close() }, nil
}

// states returns the recorded clusters, by name order of their folders.
func (f *Fleet) states() ([]State, error) {
	entries, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list sandbox %s: %w", f.dir, err)
	}
	var states []State
	for _, entry := range entries {
		s, err := ReadState(filepath.Join(f.dir, entry.Name(), "state.json"))
		switch {
		case err == nil:
			states = append(states, s)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR):
			return nil, err
		}
	}
	return states, nil
}
