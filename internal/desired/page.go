package desired

import (
	"iter"
	"slices"
	"sync"
)

// Page is what one cluster should run at one moment, as the Book has it: the same
// as a Root, where entries that several clusters or moments have alike are one.
// It never changes. The zero Page is of a cluster that should run nothing.
type Page struct {
	rows   []*row // sorted by key
	once   sync.Once
	digest Digest
}

// row is an entry with its digest; nobody writes to it.
type row struct {
	Entry
	digest Digest
}

// Digest is that of the Root; it is worked out once.
func (p *Page) Digest() Digest {
	p.once.Do(func() {
		sum := NewSum()
		for _, r := range p.rows {
			sum.Add(r.Key, r.digest)
		}
		p.digest = sum.Digest()
	})
	return p.digest
}

// Keys are all applications of the page, sorted.
func (p *Page) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for _, r := range p.rows {
			if !yield(r.Key) {
				return
			}
		}
	}
}

// Root is the page as agents know it.
func (p *Page) Root() Root {
	root := Root{Entries: make([]Entry, len(p.rows)), digests: make([]Digest, len(p.rows)), digest: p.Digest()}
	for i, r := range p.rows {
		root.Entries[i], root.digests[i] = r.Entry, r.digest
	}
	return root
}

// Uses reports whether an entry refers to the content, and by which project: an
// agent may fetch nothing else.
func (p *Page) Uses(content Digest) (project string, ok bool) {
	for _, r := range p.rows {
		if r.Content == content {
			return r.Key.Project, true
		}
	}
	return "", false
}

// Whole is the Delta that needs no base.
func (p *Page) Whole() Delta { return Whole(p.Root()) }

// From is the Delta that makes p of base. What both share costs a comparison of
// pointers.
func (p *Page) From(base *Page) Delta {
	d := Delta{Base: base.Digest(), Target: p.Digest()}
	old, next := base.rows, p.rows
	for len(old) > 0 || len(next) > 0 {
		switch order := firstKey(old, next); {
		case order < 0:
			d.Removes = append(d.Removes, old[0].Key)
			old = old[1:]
		case order > 0:
			d.Upserts = append(d.Upserts, next[0].Entry)
			next = next[1:]
		default:
			if old[0].digest != next[0].digest {
				d.Upserts = append(d.Upserts, next[0].Entry)
			}
			old, next = old[1:], next[1:]
		}
	}
	return d
}

// firstKey compares the first keys; a list that is at its end comes last.
func firstKey(a, b []*row) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	case a[0] == b[0]:
		return 0
	}
	return a[0].Key.Compare(b[0].Key)
}

func search(rows []*row, k Key) (int, bool) {
	return slices.BinarySearchFunc(rows, k, func(r *row, k Key) int { return r.Key.Compare(k) })
}
