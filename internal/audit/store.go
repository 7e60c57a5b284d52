package audit

import (
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// store makes records durable, with a head that vouches for them: all of them or,
// with an error, none. The file and the head reach the disk at once, and the head
// counts only after both.
func (l *Log) store(records []Record) error {
	at := link{l.head.Last, l.head.Hash}
	var lines []byte
	for _, r := range records {
		line, next, err := encode(r, at)
		if err != nil {
			return err
		}
		lines, at = append(lines, line...), next
	}
	head := l.head
	head.Last, head.Hash, head.Time = at.seq, at.hash, records[len(records)-1].Time
	head, err := head.sign(l.Key)
	if err != nil {
		return err
	}
	if err := l.room(); err != nil {
		return err
	}
	if err := l.persist(lines, head); err != nil {
		// What is beyond size is written over; here it goes at once where it can.
		l.dirty = true
		return errors.Join(err, l.clean())
	}
	l.size += int64(len(lines))
	l.head = head
	l.last.Store(head.Last)
	return nil
}

func (l *Log) persist(lines []byte, head Head) error {
	if _, err := l.file.WriteAt(lines, l.size); err != nil {
		return err
	}
	var both errgroup.Group
	both.Go(l.file.Sync)
	both.Go(func() error { return prepareHead(l.Dir, head) })
	if err := both.Wait(); err != nil {
		return err
	}
	return exchangeHead(l.Dir)
}

// room has a file that is not full and holds nothing beyond size.
func (l *Log) room() error {
	if l.file != nil && l.size < l.SegmentBytes {
		return l.clean()
	}
	if l.file != nil {
		if err := l.clean(); err != nil {
			return err
		}
	}
	next, err := l.open(segmentAt(l.Dir, l.head.Last+1).path)
	if err != nil {
		return fmt.Errorf("begin the next file: %w", err)
	}
	// One that a batch had begun which then failed is begun again.
	if err := errors.Join(next.Truncate(0), syncDir(l.Dir)); err != nil {
		return errors.Join(err, next.Close())
	}
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			return errors.Join(err, next.Close())
		}
	}
	l.file, l.size, l.dirty = next, 0, false
	return nil
}

func (l *Log) clean() error {
	if !l.dirty {
		return nil
	}
	if err := l.file.Truncate(l.size); err != nil {
		return fmt.Errorf("take back what was not stored whole: %w", err)
	}
	l.dirty = false
	return nil
}
