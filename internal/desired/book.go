package desired

import (
	"maps"
	"slices"
	"sync"
)

// Book holds the desired state of every cluster in memory. Controllers write
// entries, the gateway reads Roots and Deltas. It is derived state: a hub that
// starts fills it again from the Applications, and nothing may be sent from it
// before MarkComplete, so that a half-filled Book is never taken for intent.
type Book struct {
	mu       sync.RWMutex
	clusters map[string]*page
	byKey    map[Key]map[string]struct{}
	complete chan struct{}
	once     sync.Once
	notify   func(cluster string)
}

type page struct {
	entries map[Key]stored
}

type stored struct {
	Entry
	digest Digest
}

// NewBook calls notify, which must not block, after a cluster's page changed.
func NewBook(notify func(cluster string)) *Book {
	return &Book{
		clusters: map[string]*page{},
		byKey:    map[Key]map[string]struct{}{},
		complete: make(chan struct{}),
		notify:   notify,
	}
}

// MarkComplete says that every Application has been entered once.
func (b *Book) MarkComplete() { b.once.Do(func() { close(b.complete) }) }

// Complete is closed once the Book may be read as the whole intent.
func (b *Book) Complete() <-chan struct{} { return b.complete }

// Set makes entries, by cluster, all that the key asks of the fleet: clusters
// not named lose it. It returns the clusters whose page changed.
func (b *Book) Set(key Key, entries map[string]Entry) []string {
	b.mu.Lock()
	var changed []string
	for cluster, e := range entries {
		if b.put(cluster, key, e) {
			changed = append(changed, cluster)
		}
	}
	for cluster := range b.byKey[key] {
		if _, keep := entries[cluster]; !keep {
			b.drop(cluster, key)
			changed = append(changed, cluster)
		}
	}
	holders := make(map[string]struct{}, len(entries))
	for cluster := range entries {
		holders[cluster] = struct{}{}
	}
	if len(holders) == 0 {
		delete(b.byKey, key)
	} else {
		b.byKey[key] = holders
	}
	b.mu.Unlock()
	for _, cluster := range changed {
		b.notify(cluster)
	}
	return changed
}

func (b *Book) put(cluster string, key Key, e Entry) bool {
	p := b.clusters[cluster]
	if p == nil {
		p = &page{entries: map[Key]stored{}}
		b.clusters[cluster] = p
	}
	digest := e.Digest()
	if old, ok := p.entries[key]; ok && old.digest == digest {
		return false
	}
	p.entries[key] = stored{Entry: e, digest: digest}
	return true
}

func (b *Book) drop(cluster string, key Key) {
	p := b.clusters[cluster]
	delete(p.entries, key)
	if len(p.entries) == 0 {
		delete(b.clusters, cluster)
	}
}

// Get is the entry of key on cluster.
func (b *Book) Get(cluster string, key Key) (Entry, Digest, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if p := b.clusters[cluster]; p != nil {
		s, ok := p.entries[key]
		return s.Entry, s.digest, ok
	}
	return Entry{}, "", false
}

// Holders are the clusters that have an entry of the application, sorted.
func (b *Book) Holders(key Key) []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Sorted(maps.Keys(b.byKey[key]))
}

// Root is the cluster's whole desired state.
func (b *Book) Root(cluster string) Root {
	b.mu.RLock()
	defer b.mu.RUnlock()
	p := b.clusters[cluster]
	if p == nil {
		return Root{}
	}
	keys := slices.SortedFunc(maps.Keys(p.entries), Key.Compare)
	root := Root{Entries: make([]Entry, 0, len(keys)), digests: make([]Digest, 0, len(keys))}
	for _, k := range keys {
		s := p.entries[k]
		root.Entries = append(root.Entries, s.Entry)
		root.digests = append(root.digests, s.digest)
	}
	return root
}

// Uses reports whether the cluster's desired state refers to the content, and
// by which project: an agent may fetch nothing else.
func (b *Book) Uses(cluster string, content Digest) (project string, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if p := b.clusters[cluster]; p != nil {
		for k, s := range p.entries {
			if s.Content == content {
				return k.Project, true
			}
		}
	}
	return "", false
}

// Contents calls use for the content of every entry, in any order.
func (b *Book) Contents(use func(project string, content Digest)) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, p := range b.clusters {
		for key, s := range p.entries {
			use(key.Project, s.Content)
		}
	}
}

// Keys are all applications that some cluster should run, sorted.
func (b *Book) Keys() []Key {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(b.byKey), Key.Compare)
}
