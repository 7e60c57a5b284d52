package apiserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrNoStore says that a data directory has no embedded store.
var ErrNoStore = errors.New("there is no embedded store in this data directory")

// StoreCopy reads a whole embedded store as it was at one revision, whether
// its hub runs or not.
type StoreCopy struct {
	// Revision is the store's that is read.
	Revision int64
	client   *clientv3.Client
	close    func()
}

// storePage is how many records are asked for at once: an object of Kubernetes
// may have 1.5 MiB.
const storePage = 64

// OpenStoreCopy connects to the store in a data directory by its socket, which
// only its user reaches, or opens it where no hub does.
func OpenStoreCopy(ctx context.Context, dir string) (*StoreCopy, error) {
	setLog(io.Discard)
	d := dataDir(dir)
	if _, err := os.Stat(d.path("etcd", "member")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNoStore
		}
		return nil, fmt.Errorf("read the store in %s: %w", dir, err)
	}
	runs, err := d.inUse()
	if err != nil {
		return nil, err
	}
	c := &StoreCopy{close: func() {}}
	endpoint, err := d.socketLink()
	if err == nil && !runs {
		endpoint, c.close, err = openIdle(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	if c.client, err = (store{servers: []string{endpoint}}).connect(); err != nil {
		c.close()
		return nil, err
	}
	now, err := c.client.Get(ctx, defaultPrefix, clientv3.WithCountOnly())
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("ask the store in %s: %w", dir, err)
	}
	c.Revision = now.Header.Revision
	return c, nil
}

// openIdle runs the store for as long as it is read; no hub can start meanwhile.
func openIdle(ctx context.Context, d dataDir) (endpoint string, done func(), err error) {
	lock, err := d.lock()
	if err != nil {
		return "", nil, err
	}
	etcd, err := startEtcd(ctx, d, io.Discard)
	if err != nil {
		return "", nil, errors.Join(err, lock.Close())
	}
	return etcd.endpoint, func() {
		etcd.close()
		lock.Close() //nolint:errcheck // Nothing was written.
	}, nil
}

// inUse tells whether a hub has the directory, without taking it.
func (d dataDir) inUse() (bool, error) {
	file, err := os.Open(d.path("lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether a hub runs on %s: %w", d, err)
	}
	defer file.Close() //nolint:errcheck // Nothing was written.
	return errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK), nil
}

// socketLink is where the store of a running hub listens.
func (d dataDir) socketLink() (string, error) {
	socket, err := filepath.Abs(d.path("pki", socketName))
	if err != nil {
		return "", fmt.Errorf("name the store's socket: %w", err)
	}
	if elsewhere, err := os.Readlink(socket); err == nil {
		socket = elsewhere
	}
	return "unix://" + socket, nil
}

// Each hands out every record, with its key below Kubernetes' prefix. What
// expires by itself, such as an event, is left out.
func (c *StoreCopy) Each(ctx context.Context, each func(key string, value []byte) error) error {
	from, end := defaultPrefix+"/", clientv3.GetPrefixRangeEnd(defaultPrefix+"/")
	for {
		page, err := c.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithRev(c.Revision), clientv3.WithLimit(storePage))
		if err != nil {
			return fmt.Errorf("read the store at revision %d: %w", c.Revision, err)
		}
		for _, kv := range page.Kvs {
			if kv.Lease != 0 {
				continue
			}
			if err := each(string(kv.Key[len(defaultPrefix):]), kv.Value); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

// Close ends the reading.
func (c *StoreCopy) Close() {
	c.client.Close() //nolint:errcheck // All that it was asked is answered.
	c.close()
}

// revisionLeap is what a restored store's revision is ahead of the one copied:
// more than a hub writes between two backups. A client that has seen later
// revisions than the copy's must be told to list again, not wait for them to
// come round, nor have its write taken for one of the present.
const revisionLeap = 1_000_000_000

// FillStore makes the embedded store of a new data directory from records, as
// Each gave them, of a store at a revision. Each record is of a later one, so that
// no version of an object means anything else than it did in that store.
func FillStore(ctx context.Context, dir string, revision int64, records func(put func(key string, value []byte) error) error) error {
	setLog(io.Discard)
	d := dataDir(dir)
	_, done, err := openIdle(ctx, d) // which makes its files
	if err != nil {
		return err
	}
	done()
	if err := d.leap(revision + revisionLeap); err != nil {
		return err
	}
	endpoint, done, err := openIdle(ctx, d)
	if err != nil {
		return err
	}
	defer done()
	return put(ctx, endpoint, records)
}

func put(ctx context.Context, endpoint string, records func(put func(key string, value []byte) error) error) error {
	client, err := (store{servers: []string{endpoint}}).connect()
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // All that it was asked is answered.
	return records(func(key string, value []byte) error {
		if _, err := client.Put(ctx, defaultPrefix+key, string(value)); err != nil {
			return fmt.Errorf("fill the store with %s: %w", key, err)
		}
		return nil
	})
}

// leap has the store go on after a revision: with a record of that revision in
// its file, in the form of etcd's mvcc (17 bytes of key: main, "_", sub), for
// there is no request that does it. The store must not run.
func (d dataDir) leap(revision int64) error {
	file := d.path("etcd", "member", "snap", "db")
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		return fmt.Errorf("open the store's file %s: %w", file, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("key"))
		if bucket == nil {
			return errors.New("it has no bucket of keys")
		}
		value, err := (&mvccpb.KeyValue{Key: []byte("/restored"), CreateRevision: revision, ModRevision: revision, Version: 1}).Marshal()
		if err != nil {
			return err
		}
		key := binary.BigEndian.AppendUint64(nil, uint64(revision))
		return bucket.Put(binary.BigEndian.AppendUint64(append(key, '_'), 0), value)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("write the revision into the store's file %s: %w", file, err)
	}
	return nil
}

// KeyFingerprints are of the control plane's keys in dir, which must be there.
func KeyFingerprints(dir string) (Fingerprints, error) {
	authority, err := keysDir(dir).ensure()
	if err != nil {
		return nil, err
	}
	return keysDir(dir).fingerprints(authority)
}

// Differ names the keys of which both have some and share none.
func (f Fingerprints) Differ(other Fingerprints) []string { return f.differ(other) }
