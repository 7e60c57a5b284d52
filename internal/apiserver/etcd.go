package apiserver

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// walSegmentSize is preallocated, so it bounds what an idle hub takes on disk.
const walSegmentSize = 8 << 20

var setWALSegmentSize = sync.OnceFunc(func() { wal.SegmentSizeBytes = walSegmentSize })

// embeddedEtcd is a one-member etcd that only this user can reach: it listens
// on a socket in a directory of mode 0700 and on no port.
type embeddedEtcd struct {
	etcd     *embed.Etcd
	endpoint string
	tempDir  string
}

func startEtcd(ctx context.Context, dir dataDir, log io.Writer) (*embeddedEtcd, error) {
	setWALSegmentSize()
	server := &embeddedEtcd{}
	socket, err := server.socketPath(dir)
	if err != nil {
		return nil, err
	}
	server.endpoint = "unix://" + socket
	server.etcd, err = embed.StartEtcd(etcdConfig(dir, socket, log))
	if err != nil {
		server.removeTempDir()
		return nil, fmt.Errorf("start the store in %s: %w", dir.path("etcd"), err)
	}
	select {
	case <-server.etcd.Server.ReadyNotify():
		return server, nil
	case err = <-server.etcd.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	server.close()
	return nil, fmt.Errorf("wait for the store in %s: %w", dir.path("etcd"), err)
}

func etcdConfig(dir dataDir, socket string, log io.Writer) *embed.Config {
	config := embed.NewConfig()
	config.Name = "hub"
	config.Dir = dir.path("etcd")
	config.ListenClientUrls = []url.URL{{Scheme: "unix", Path: socket}}
	// A single member has no peers to listen to.
	config.ListenPeerUrls = nil
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.EnableGRPCGateway = false
	// Nobody to lose an election to: a short one only shortens the start.
	config.TickMs, config.ElectionMs = 50, 250
	// Room for the 1.5 MiB objects that the API server lets pass, in one transaction.
	config.MaxRequestBytes = 4 << 20
	config.QuotaBackendBytes = 8 << 30
	// What is written is safe once it is in the log. Bringing it into the file of
	// the store syncs the disk again, and writes wait for that: once a second, not
	// ten times, is a quarter less CPU for each and shorter tails.
	config.BackendBatchInterval = time.Second
	// Old entries are kept for slow followers, of which there are none, and segments
	// of the log for people who look into them; what a start needs is never removed.
	config.SnapshotCount, config.SnapshotCatchUpEntries = 2000, 100
	config.MaxWalFiles = 2
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(zapcore.NewCore(encoder, zapcore.AddSync(log), zap.WarnLevel)))
	return config
}

const socketName = "etcd.sock"

// maxSocketPath is what a Unix socket's address holds on every system.
const maxSocketPath = 100

// socketPath is in the data directory, or, where that name is too long for a
// socket, in a directory of its own that lives as long as the server; a link in
// the data directory leads there.
func (e *embeddedEtcd) socketPath(dir dataDir) (string, error) {
	inData, err := filepath.Abs(dir.path("pki", socketName))
	if err != nil {
		return "", fmt.Errorf("name the store's socket: %w", err)
	}
	if len(inData) <= maxSocketPath {
		return inData, nil
	}
	if e.tempDir, err = os.MkdirTemp("", "atoll-hub-"); err != nil {
		return "", fmt.Errorf("make a directory for the store's socket: %w", err)
	}
	socket := filepath.Join(e.tempDir, socketName)
	_ = os.Remove(inData) // of a hub that was killed
	if err := os.Symlink(socket, inData); err != nil {
		e.removeTempDir()
		return "", fmt.Errorf("tell where the store's socket is: %w", err)
	}
	return socket, nil
}

func (e *embeddedEtcd) close() {
	e.etcd.Close()
	e.removeTempDir()
}

func (e *embeddedEtcd) removeTempDir() {
	if e.tempDir != "" {
		os.RemoveAll(e.tempDir) //nolint:errcheck // Only an empty directory would stay behind.
	}
}
