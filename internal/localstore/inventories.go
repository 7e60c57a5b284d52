package localstore

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"atoll.dev/atoll/internal/desired"
)

// buckets spread the inventories over pieces, so that one changed application
// does not rewrite all, and a hundred do not make a hundred Secrets.
const buckets = 16

// saveEvery is the least time between two commits of inventories: baselines
// change with every correction, and a member's etcd is not ours to wear out.
const saveEvery = time.Second

func bucketOf(k desired.Key) string {
	h := fnv.New32a()
	h.Write([]byte(k.String()))
	return fmt.Sprintf("%s%d", prefixInventor, h.Sum32()%buckets)
}

// bucket is one piece; Keys and Data run in parallel.
type bucket struct {
	Keys []desired.Key `cbor:"1,keyasint"`
	Data [][]byte      `cbor:"2,keyasint"`
}

func readInventories(pieces map[string][]byte) map[desired.Key][]byte {
	all := map[desired.Key][]byte{}
	for name, data := range pieces {
		if len(name) < len(prefixInventor) || name[:len(prefixInventor)] != prefixInventor {
			continue
		}
		var b bucket
		if cbor.Unmarshal(data, &b) != nil || len(b.Keys) != len(b.Data) {
			continue // without its inventory an application prunes nothing
		}
		for i, k := range b.Keys {
			all[k] = b.Data[i]
		}
		delete(pieces, name)
	}
	return all
}

// LoadInventories returns everything that was saved.
func (s *Store) LoadInventories(ctx context.Context) (map[desired.Key][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	return maps.Clone(s.inventories), nil
}

// SaveInventories commits those given; a nil value forgets one. It waits so
// that commits are at least a second apart: callers collect meanwhile.
func (s *Store) SaveInventories(ctx context.Context, changed map[desired.Key][]byte) error {
	if err := s.pace(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(ctx); err != nil {
		return err
	}
	next, inventories := maps.Clone(s.current), maps.Clone(s.inventories)
	touched := map[string]bool{}
	for k, data := range changed {
		touched[bucketOf(k)] = true
		if data == nil {
			delete(inventories, k)
		} else {
			inventories[k] = data
		}
	}
	for name := range touched {
		chunks, err := s.putBucket(ctx, name, inventories)
		if err != nil {
			return err
		}
		if chunks == nil {
			delete(next, name)
		} else {
			next[name] = chunks
		}
	}
	if err := s.commit(ctx, next); err != nil {
		return err
	}
	s.inventories = inventories
	return nil
}

func (s *Store) pace(ctx context.Context) error {
	s.mu.Lock()
	now := time.Now()
	wait := s.nextSave.Sub(now)
	s.nextSave = now.Add(max(wait, 0) + saveEvery)
	s.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (s *Store) putBucket(ctx context.Context, name string, all map[desired.Key][]byte) ([]string, error) {
	var b bucket
	for _, k := range sortedKeys(all) {
		if bucketOf(k) == name {
			b.Keys, b.Data = append(b.Keys, k), append(b.Data, all[k])
		}
	}
	if len(b.Keys) == 0 {
		return nil, nil
	}
	data, err := canonical.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode inventories: %w", err)
	}
	return s.put(ctx, data)
}

// bucketsLost are those that should be stored and are not.
func (s *Store) bucketsLost() map[string]bool {
	lost := map[string]bool{}
	for k := range s.inventories {
		if name := bucketOf(k); s.current[name] == nil {
			lost[name] = true
		}
	}
	return lost
}

func sortedKeys(m map[desired.Key][]byte) []desired.Key {
	return slices.SortedFunc(maps.Keys(m), desired.Key.Compare)
}
