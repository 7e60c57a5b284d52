package component

import (
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd runs a single-member etcd that serves only TLS clients with a
// certificate of its own authority.
func runEtcd(args []string) error {
	config, err := etcdConfig(args)
	if err != nil {
		return err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	select {
	case err := <-server.Err():
		return fmt.Errorf("etcd: %w", err)
	case <-server.Server.StopNotify():
		return nil
	}
}

func etcdConfig(args []string) (*embed.Config, error) {
	config := embed.NewConfig()
	flags := pflag.NewFlagSet("etcd", pflag.ContinueOnError)
	flags.StringVar(&config.Dir, "data-dir", "", "where the data lies")
	clientPort := flags.Int("client-port", 0, "port for clients")
	peerPort := flags.Int("peer-port", 0, "port for peers, of which there are none")
	flags.StringVar(&config.ClientTLSInfo.CertFile, "cert-file", "", "server certificate")
	flags.StringVar(&config.ClientTLSInfo.KeyFile, "key-file", "", "server key")
	flags.StringVar(&config.ClientTLSInfo.TrustedCAFile, "ca-file", "", "authority of clients")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	config.ClientTLSInfo.ClientCertAuth = true
	config.PeerTLSInfo = config.ClientTLSInfo
	config.Name = "sandbox"
	config.ListenClientUrls = loopback(*clientPort)
	config.AdvertiseClientUrls = loopback(*clientPort)
	// Elsewhere than gRPC, which then needs no HTTP server between it and TLS: a
	// fifth of etcd's work. Nobody asks there.
	config.ListenClientHttpUrls = loopback(0)
	config.EnableGRPCGateway = false
	config.ListenPeerUrls = loopback(*peerPort)
	config.AdvertisePeerUrls = loopback(*peerPort)
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "warn"

	// A sandbox must survive its processes being killed, for which the page
	// cache suffices, not the machine losing power; fsync would be most of
	// the time that five clusters on one disk take to start.
	config.UnsafeNoFsync = true
	// The only member has nobody to wait for before it elects itself.
	config.TickMs, config.ElectionMs = 50, 500
	// History that nobody reads is memory: the API server compacts every
	// five minutes, and this keeps the write-ahead log from piling up.
	config.SnapshotCount = 5000
	config.WarningUnaryRequestDuration = time.Second
	config.BackendBatchInterval = 100 * time.Millisecond
	return config, nil
}

func loopback(port int) []url.URL {
	return []url.URL{{Scheme: "https", Host: fmt.Sprintf("127.0.0.1:%d", port)}}
}
