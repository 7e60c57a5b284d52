package apiserver

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// claimTimeout is for an external store that is far away or electing.
const claimTimeout = 15 * time.Second

// claim refuses a store that was begun with other keys, and else records ours.
// A hub with other keys would not read its Secrets, and sign certificates that
// nobody there trusts. Nothing is written to a store that is refused.
func (s store) claim(ctx context.Context, prints Fingerprints) error {
	client, err := s.connect()
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // All that it was asked is answered.
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	go s.giveUp(ctx, cancel)
	for {
		done, err := s.claimOnce(ctx, client, prints)
		if err != nil {
			return s.explain(err)
		}
		if done {
			return nil
		}
	}
}

// claimOnce is not done when another hub wrote the record meanwhile.
func (s store) claimOnce(ctx context.Context, client *clientv3.Client, prints Fingerprints) (done bool, err error) {
	key := path.Join(s.prefix, "hub-keys")
	found, err := client.Get(ctx, key)
	if err != nil {
		return false, fmt.Errorf("read which keys the store was begun with: %w", err)
	}
	revision := int64(0) // of a key that is not there
	if len(found.Kvs) > 0 {
		var recorded Fingerprints
		if err := json.Unmarshal(found.Kvs[0].Value, &recorded); err != nil {
			return false, fmt.Errorf("read which keys the store was begun with: %s is damaged: %w", key, err)
		}
		if names := prints.differ(recorded); len(names) > 0 {
			return false, foreignStore(names)
		}
		revision = found.Kvs[0].ModRevision
	}
	data, err := json.Marshal(prints)
	if err != nil {
		return false, fmt.Errorf("encode the fingerprints of the keys: %w", err)
	}
	if revision > 0 && string(data) == string(found.Kvs[0].Value) {
		return true, nil
	}
	answer, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(clientv3.OpPut(key, string(data))).Commit()
	if err != nil {
		return false, fmt.Errorf("record the fingerprints of the keys: %w", err)
	}
	return answer.Succeeded, nil
}

func (s store) connect() (*clientv3.Client, error) {
	config := clientv3.Config{Endpoints: s.servers, DialTimeout: claimTimeout, Logger: zap.NewNop()}
	if s.secured() {
		var err error
		if config.TLS, err = s.tls(); err != nil {
			return nil, err
		}
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the store at %s: %w", strings.Join(s.servers, ", "), err)
	}
	return client, nil
}

func (s store) secured() bool { return strings.HasPrefix(s.servers[0], "https://") }

func (s store) tls() (*tls.Config, error) {
	info := transport.TLSInfo{TrustedCAFile: s.caFile, CertFile: s.certFile, KeyFile: s.keyFile}
	config, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the certificates for the external etcd (--etcd-cafile, --etcd-certfile, --etcd-keyfile): %w", err)
	}
	return config, nil
}
