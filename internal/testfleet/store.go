package testfleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"atoll.dev/atoll/internal/apiserver/pki"
	"atoll.dev/atoll/internal/sandbox"
)

// StorageVariable picks where the hub stores: embedded, which is the default,
// or etcd, one in a process of its own that asks for certificates.
const StorageVariable = "ATOLL_E2E_STORAGE"

const storeLife = 24 * time.Hour

// storeProcess is an external etcd; it has nothing to do with the members'.
type storeProcess struct {
	child
	address string
	flags   []string // for the hub
}

// newStoreProcess is nil where the hub stores in itself.
func newStoreProcess(dir string) (*storeProcess, error) {
	switch mode := os.Getenv(StorageVariable); mode {
	case "", "embedded":
		return nil, nil
	case "etcd":
	default:
		return nil, fmt.Errorf("%s=%s: it is embedded or etcd", StorageVariable, mode)
	}
	path, err := sandboxProgram()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "etcd")
	s := &storeProcess{address: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	if err := s.certify(filepath.Join(dir, "pki")); err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(dir, "pki", name) }
	s.child = child{
		name: "the hub's etcd", path: path, log: filepath.Join(dir, "log"),
		args: []string{
			"component", sandbox.Etcd, "--data-dir", filepath.Join(dir, "data"),
			"--client-port", fmt.Sprint(ports[0]), "--peer-port", fmt.Sprint(ports[1]),
			"--cert-file", file("server.crt"), "--key-file", file("server.key"), "--ca-file", file("ca.crt"),
		},
	}
	s.flags = []string{
		"--etcd-servers", "https://" + s.address,
		"--etcd-cafile", file("ca.crt"), "--etcd-certfile", file("hub.crt"), "--etcd-keyfile", file("hub.key"),
	}
	return s, nil
}

func sandboxProgram() (string, error) {
	if path := os.Getenv(sandbox.BinaryVariable); path != "" {
		return path, nil
	}
	return Program("atoll-sandbox")
}

func (s *storeProcess) certify(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	authority, err := pki.OpenAuthority(dir, "ca", "etcd-ca")
	if err != nil {
		return err
	}
	for _, leaf := range []pki.Leaf{{CommonName: "server", Hosts: []string{"127.0.0.1"}}, {CommonName: "hub"}} {
		leaf.Lifetime = storeLife
		file := filepath.Join(dir, leaf.CommonName)
		if _, err := authority.EnsureLeaf(file+".crt", file+".key", leaf, 0); err != nil {
			return err
		}
	}
	return nil
}

// begin returns when the store listens.
func (s *storeProcess) begin(ctx context.Context) error {
	if err := s.start(); err != nil {
		return err
	}
	last := errors.New("never asked")
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		if !s.alive() {
			return false, fmt.Errorf("%s ended:\n%s", s.name, s.lastWords(20))
		}
		var conn net.Conn
		if conn, last = (&net.Dialer{}).DialContext(ctx, "tcp", s.address); last == nil {
			_ = conn.Close() // it was only to see whether it opens
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w; last: %w", s.name, err, last)
	}
	return nil
}
