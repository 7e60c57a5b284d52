package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// DefaultSegmentBytes is when a file is full and the next begins.
const DefaultSegmentBytes = 16 << 20

// Options are where a log lies and who vouches for it.
type Options struct {
	Dir string
	// Key signs heads; it must not lie in Dir.
	Key ed25519.PrivateKey
	// SegmentBytes is DefaultSegmentBytes if it is 0.
	SegmentBytes int64
	// Lenient has acts go on that cannot be recorded; else Append says why not.
	Lenient bool
	// Complain is told when recording begins to fail and when it works again (nil).
	Complain func(error)
	Now      func() time.Time
	// Hub is recorded as who writes.
	Hub string

	open func(path string) (file, error)
}

// Log is an open log; one process at a time has it.
type Log struct {
	Options
	lock *os.File

	mu      sync.Mutex
	pending []*entry
	closed  bool
	wake    chan struct{} // holds one word: something is pending, or it is closed
	ended   chan struct{}

	// failing says that the last batch could not be stored.
	failing atomic.Bool
	last    atomic.Uint64

	// What follows belongs to the goroutine that writes.
	head  Head
	file  file
	size  int64
	dirty bool // the file may hold more than size
	lost  gap
	// first are records of the beginning that wait for room on the disk.
	first []Record
	err   error // of closing
}

// entry is a record that somebody waits for; nil only asks whether it works.
type entry struct {
	record *Record
	done   chan error
}

// gap is what could not be recorded.
type gap struct {
	count int
	since time.Time
	cause error
}

// Open goes on with the log in Options.Dir, or begins one.
func Open(o Options) (*Log, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.open == nil {
		o.open = openFile
	}
	if o.Complain == nil {
		o.Complain = func(error) {}
	}
	if len(o.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("the audit log needs a key to sign with")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the audit log: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	l := &Log{Options: o, lock: lock, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	first, err := l.resume()
	if err == nil {
		if err = l.store(first); isFull(err) && !slices.ContainsFunc(first, isBreach) {
			// What people do waits for room, or goes on; a hub is there for more than that.
			l.first = first
			l.last.Store(l.head.Last)
			l.miss(0, l.failed(err))
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the audit log in %s: %w", o.Dir, err), l.release())
	}
	go l.run()
	return l, nil
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// isBreach is of what must be in the log before anything else is done to it.
func isBreach(r Record) bool { return r.Verb == Breached }

func lockDir(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the audit log: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the audit log in %s is in use by another hub; each needs a directory of its own: %w", dir, err), lock.Close())
	}
	return lock, nil
}

// Append records an act and returns when that is durable. Calls at once share the
// cost of it. An error says that it is not recorded, or for ctx that nobody waited;
// a lenient log complains instead.
func (l *Log) Append(ctx context.Context, r Record) error {
	r.Time = l.Now().UTC()
	err := l.wait(ctx, &entry{record: &r, done: make(chan error, 1)})
	if l.Lenient && ctx.Err() == nil {
		return nil
	}
	return err
}

// Ready says whether an act that is to be recorded once it is done may begin.
func (l *Log) Ready(ctx context.Context) error {
	if l.Lenient || !l.failing.Load() {
		return nil
	}
	return l.wait(ctx, &entry{done: make(chan error, 1)})
}

func (l *Log) wait(ctx context.Context, e *entry) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errors.New("the audit log is closed: the hub is stopping")
	}
	l.pending = append(l.pending, e)
	l.mu.Unlock()
	l.rouse()
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the audit log: %w", ctx.Err())
	}
}

func (l *Log) rouse() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Close stores what is pending and gives the directory back.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.rouse()
	<-l.ended
	return l.err
}

func (l *Log) release() error {
	var err error
	if l.file != nil {
		err = l.file.Close()
	}
	return errors.Join(err, l.lock.Close())
}

func (l *Log) run() {
	defer close(l.ended)
	for range l.wake {
		for {
			batch, closed := l.take()
			if len(batch) > 0 {
				l.commit(batch)
				continue
			}
			if closed {
				l.err = l.release()
				return
			}
			break
		}
	}
}

// maxBatch bounds how much is encoded before any of it is durable.
const maxBatch = 4096

func (l *Log) take() (batch []*entry, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.pending), maxBatch)
	batch, l.pending = l.pending[:n:n], l.pending[n:]
	return batch, l.closed
}

// commit stores a batch, and before it a word about what was lost until now.
func (l *Log) commit(batch []*entry) {
	records := slices.Clip(l.first)
	if l.lost.count > 0 {
		records = append(records, l.note(Gap, fmt.Sprintf("%d acts were not recorded between %s and now: %v",
			l.lost.count, l.lost.since.UTC().Format(time.RFC3339), l.lost.cause)))
	}
	acts := 0
	for _, e := range batch {
		if e.record != nil {
			records = append(records, *e.record)
			acts++
		}
	}
	var err error
	if len(records) > 0 {
		err = l.store(records)
	}
	if err != nil {
		err = l.failed(err)
		l.miss(acts, err)
	} else {
		l.lost, l.first = gap{}, nil
		if l.failing.Swap(false) {
			l.Complain(nil)
		}
	}
	for _, e := range batch {
		e.done <- err
	}
}

func (l *Log) failed(err error) error {
	return fmt.Errorf("write the audit log in %s: %w", l.Dir, err)
}

func (l *Log) miss(acts int, cause error) {
	if l.lost.count == 0 {
		l.lost.since = l.Now()
	}
	l.lost.count, l.lost.cause = l.lost.count+acts, cause
	if !l.failing.Swap(true) {
		l.Complain(cause)
	}
}

// note is a record of the log's own.
func (l *Log) note(verb, message string) Record {
	return Record{Time: l.Now().UTC(), Verb: verb, Name: l.Hub, Message: message}
}
