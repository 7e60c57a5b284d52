package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Query says which records are wanted; what is empty wants all.
type Query struct {
	Since, Until time.Time
	// User is who acted, or in whose name.
	User string
	Verb string
	// Namespace is a project's. Resource is the plural, and "clusters" finds what
	// was done inside one, too.
	Namespace, Resource, Name string
	// From is the first number to look at, Limit how many records are wanted at most.
	From  uint64
	Limit int
}

// Page is an answer; Next is where to go on, 0 when that was all.
type Page struct {
	Records []Record `json:"records"`
	Next    uint64   `json:"next,omitempty"`
}

// Bounds of one page: how many records, and how many bytes of the log for it.
const (
	MaxPage   = 1000
	maxBytes  = 4 << 20
	maxLooked = 64 << 20
)

// Query reads what is in the log now.
func (l *Log) Query(ctx context.Context, q Query) (Page, error) {
	return read(ctx, l.Dir, q, l.last.Load())
}

// Read does the same of a log that lies in dir, and may be a copy. It believes what
// it reads: whether that is whole is for Verify.
func Read(ctx context.Context, dir string, q Query) (Page, error) {
	return read(ctx, dir, q, ^uint64(0))
}

func read(ctx context.Context, dir string, q Query, last uint64) (Page, error) {
	if q.Limit <= 0 || q.Limit > MaxPage {
		q.Limit = MaxPage
	}
	all, err := segments(dir)
	if err != nil {
		return Page{}, err
	}
	p := &pager{Query: q, last: last}
	for _, s := range begin(all, q) {
		_, err := s.walk(func(_ int64, line []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return p.look(line)
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return Page{}, err
		}
		if p.full {
			break
		}
	}
	return p.page, nil
}

// begin leaves out the segments that end before what is wanted.
func begin(all []segment, q Query) []segment {
	if q.From > 0 {
		return from(all, q.From)
	}
	for len(all) > 1 && !q.Since.IsZero() {
		if t, known := all[1].began(); !known || !t.Before(q.Since) {
			break
		}
		all = all[1:]
	}
	return all
}

// began is when the first record was written. Nobody knows it of a file that was
// changed, or begun a moment ago.
func (s segment) began() (t time.Time, known bool) {
	_, err := s.walk(func(_ int64, line []byte) error {
		r, err := decode(line)
		t, known = r.Time, err == nil
		return errStop
	})
	return t, known && err == nil
}

// pager fills a page.
type pager struct {
	Query
	last   uint64
	page   Page
	looked int
	bytes  int
	full   bool
}

func (p *pager) look(line []byte) error {
	r, err := decode(line)
	switch {
	case err != nil || r.Sequence < p.From:
		return nil // no record: half written by now, or changed, which Verify tells
	case r.Sequence > p.last:
		p.full, p.page.Next = true, 0
		return errStop
	case p.bytes > maxBytes || p.looked > maxLooked || len(p.page.Records) == p.Limit:
		p.full, p.page.Next = true, r.Sequence
		return errStop
	}
	p.looked += len(line)
	if p.wants(&r) {
		p.bytes += len(line)
		p.page.Records = append(p.page.Records, r)
	}
	return nil
}

func (p *pager) wants(r *Record) bool {
	switch {
	case r.Time.Before(p.Since), !p.Until.IsZero() && !r.Time.Before(p.Until):
		return false
	case p.User != "" && r.User != p.User && r.Impersonator != p.User, p.Verb != "" && r.Verb != p.Verb:
		return false
	case p.Namespace != "" && r.Namespace != p.Namespace:
		return false
	case p.Resource == "clusters" && r.Cluster != "" && (p.Name == "" || r.Cluster == p.Name):
		return true
	}
	return (p.Resource == "" || r.Resource == p.Resource) && (p.Name == "" || r.Name == p.Name)
}

// What is the object of a record in one word: "applications/shop", or with its
// subresource "pods/log/web-1".
func (r *Record) What() string {
	var parts []string
	for _, part := range []string{r.Resource, r.Subresource, r.Name} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/")
}

// Text is a change in words.
func (c Change) Text() string {
	switch {
	case c.Before == nil:
		return fmt.Sprintf("%s: %s", c.Path, c.After)
	case c.After == nil:
		return fmt.Sprintf("%s: %s removed", c.Path, c.Before)
	}
	return fmt.Sprintf("%s: %s → %s", c.Path, c.Before, c.After)
}
