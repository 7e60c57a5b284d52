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

// StorageVariable picks where the hub stores: embedded, which is the default;
// etcd, one in a process of its own that asks for certificates; or kubernetes, a
// cluster of its own.
const StorageVariable = "ATOLL_E2E_STORAGE"

const storeLife = 24 * time.Hour

// store is what the hub stores in, when that is not itself. It has nothing to do
// with the members.
type store interface {
	// flags are the hub's.
	flags() []string
	// kubeconfig is the admin's, "" where the hub makes one.
	kubeconfig() string
	begin(context.Context) error
	end() error
}

// newStore is nil where the hub stores in itself.
func newStore(dir string) (store, error) {
	switch mode := os.Getenv(StorageVariable); mode {
	case "", "embedded":
		return nil, nil
	case "etcd":
		return newEtcdStore(filepath.Join(dir, "etcd"))
	case "kubernetes":
		return newHostStore(filepath.Join(dir, "host"))
	default:
		return nil, fmt.Errorf("%s=%s: it is embedded, etcd or kubernetes", StorageVariable, mode)
	}
}

// etcdStore is an external etcd.
type etcdStore struct {
	child
	address string
	dir     string
}

func newEtcdStore(dir string) (*etcdStore, error) {
	path, err := sandboxProgram()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s := &etcdStore{address: fmt.Sprintf("127.0.0.1:%d", ports[0]), dir: dir}
	if err := s.certify(filepath.Join(dir, "pki")); err != nil {
		return nil, err
	}
	s.child = child{
		name: "the hub's etcd", path: path, log: filepath.Join(dir, "log"),
		args: []string{
			"component", sandbox.Etcd, "--data-dir", filepath.Join(dir, "data"),
			"--client-port", fmt.Sprint(ports[0]), "--peer-port", fmt.Sprint(ports[1]),
			"--cert-file", s.file("server.crt"), "--key-file", s.file("server.key"), "--ca-file", s.file("ca.crt"),
		},
	}
	return s, nil
}

func (s *etcdStore) file(name string) string { return filepath.Join(s.dir, "pki", name) }

func (s *etcdStore) flags() []string {
	return []string{
		"--keys", filepath.Join(s.dir, "keys"), "--content", filepath.Join(s.dir, "content"),
		"--etcd-servers", "https://" + s.address,
		"--etcd-cafile", s.file("ca.crt"), "--etcd-certfile", s.file("hub.crt"), "--etcd-keyfile", s.file("hub.key"),
	}
}

func (s *etcdStore) kubeconfig() string { return "" }

func (s *etcdStore) end() error { return s.child.end(killSignal) }

func sandboxProgram() (string, error) {
	if path := os.Getenv(sandbox.BinaryVariable); path != "" {
		return path, nil
	}
	return Program("atoll-sandbox")
}

func (s *etcdStore) certify(dir string) error {
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
func (s *etcdStore) begin(ctx context.Context) error {
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
