package desired

import (
	"maps"
	"slices"
	"sync"
)

// Book holds the desired state of every cluster in memory. Controllers write
// entries, the gateway reads Pages. It is derived state: a hub that
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

// page is a cluster's part. Its rows are written only while nobody was shown them.
type page struct {
	rows  []*row // sorted by key
	shown *Page
}

// own makes the rows ones that may be written.
func (p *page) own() {
	if p.shown != nil {
		p.rows, p.shown = slices.Clone(p.rows), nil
	}
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
	rows := rowsOf(entries)
	b.mu.Lock()
	var changed []string
	for cluster, next := range rows {
		if b.put(cluster, next) {
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

// rowsOf are the entries by cluster, where those that are alike are one.
func rowsOf(entries map[string]Entry) map[string]*row {
	rows, alike := make(map[string]*row, len(entries)), map[Digest]*row{}
	for cluster, e := range entries {
		next := &row{Entry: e, digest: e.Digest()}
		if same := alike[next.digest]; same != nil {
			next = same
		}
		alike[next.digest], rows[cluster] = next, next
	}
	return rows
}

func (b *Book) put(cluster string, next *row) bool {
	p := b.clusters[cluster]
	if p == nil {
		p = &page{}
		b.clusters[cluster] = p
	}
	i, had := search(p.rows, next.Key)
	if had && p.rows[i].digest == next.digest {
		return false
	}
	p.own()
	if had {
		p.rows[i] = next
	} else {
		p.rows = slices.Insert(p.rows, i, next)
	}
	return true
}

func (b *Book) drop(cluster string, key Key) {
	p := b.clusters[cluster]
	i, had := search(p.rows, key)
	if !had {
		return
	}
	p.own()
	if p.rows = slices.Delete(p.rows, i, i+1); len(p.rows) == 0 {
		delete(b.clusters, cluster)
	}
}

// Get is the entry of key on cluster.
func (b *Book) Get(cluster string, key Key) (Entry, Digest, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if p := b.clusters[cluster]; p != nil {
		if i, ok := search(p.rows, key); ok {
			return p.rows[i].Entry, p.rows[i].digest, true
		}
	}
	return Entry{}, "", false
}

// Page is what the cluster should run now.
func (b *Book) Page(cluster string) *Page {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.clusters[cluster]
	if p == nil {
		return &Page{}
	}
	if p.shown == nil {
		p.shown = &Page{rows: p.rows}
	}
	return p.shown
}

// Root is the cluster's whole desired state, as agents know it.
func (b *Book) Root(cluster string) Root { return b.Page(cluster).Root() }

// Holders are the clusters that have an entry of the application, sorted.
func (b *Book) Holders(key Key) []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Sorted(maps.Keys(b.byKey[key]))
}

// Contents calls use for the content of every entry, in any order.
func (b *Book) Contents(use func(project string, content Digest)) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, p := range b.clusters {
		for _, r := range p.rows {
			use(r.Key.Project, r.Content)
		}
	}
}

// Keys are all applications that some cluster should run, sorted.
func (b *Book) Keys() []Key {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(b.byKey), Key.Compare)
}
