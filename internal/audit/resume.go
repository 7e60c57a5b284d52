package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// resume finds where the log in Dir goes on and returns what is to be recorded
// about that first. What a crash left is told from what somebody did: of a crash
// all that the head signed is whole. Neither keeps a hub from starting, and a
// breach stays in the log for good.
func (l *Log) resume() ([]Record, error) {
	all, err := segments(l.Dir)
	if err != nil {
		return nil, err
	}
	head, headErr := readHead(l.Dir, l.Key.Public().(ed25519.PublicKey))
	if headErr != nil && !errors.Is(headErr, errNoHead) && !errors.Is(headErr, errForged) {
		return nil, headErr
	}
	started := l.note(Started, "")
	if len(all) == 0 && errors.Is(headErr, errNoHead) {
		return []Record{started}, l.begin()
	}
	if headErr != nil {
		return l.afterBreach(all, Head{}, headErr.Error(), started)
	}
	t, err := readTail(from(all, head.Last), head)
	switch {
	case err != nil:
		return nil, err
	case t.breach != "":
		return l.afterBreach(all, head, t.breach, started)
	}
	l.head = head
	records, err := l.afterCrash(t)
	return append(records, started), err
}

// begin makes a new log. Its head is there before its first record: one without
// the other is no log that ended in a crash.
func (l *Log) begin() error {
	id := rand.Text()
	origin := sha256.Sum256([]byte("atoll-audit-log/1\n" + id))
	l.head = Head{Log: id, First: 1, Previous: hex.EncodeToString(origin[:]), Time: l.Now().UTC()}
	l.head.Hash = l.head.Previous
	signed, err := l.head.sign(l.Key)
	if err != nil {
		return err
	}
	if err := prepareHead(l.Dir, signed); err != nil {
		return err
	}
	return errors.Join(exchangeHead(l.Dir), syncDir(l.Dir))
}

// tail is what the last files hold.
type tail struct {
	last link
	// in and size are where the last whole record ends; in is empty without files.
	in   segment
	size int64
	// torn are what follows it.
	torn []torn
	// breach says what is not as the head says.
	breach string
}

// torn are the bytes of a file from an offset on.
type torn struct {
	segment
	at int64
}

// readTail reads the segments from the one on that holds the head's last record.
func readTail(segments []segment, head Head) (tail, error) {
	t := tail{last: link{head.Last, head.Hash}}
	signed := head.Last == 0 // whether the head's last record was seen
	var at link
	if signed {
		at.hash = head.Hash
	}
	for _, s := range segments {
		if len(t.torn) > 0 {
			t.torn = append(t.torn, torn{s, 0})
			continue
		}
		known := at.hash != ""
		whole := int64(0)
		rest, err := s.walk(func(_ int64, line []byte) error {
			next, prev, err := parse(line)
			if err != nil || known && (next.seq != at.seq+1 || prev != at.hash) || next.seq == head.Last && next.hash != head.Hash {
				return errStop
			}
			at, known, whole = next, true, whole+int64(len(line))+1
			signed = signed || at.seq == head.Last
			return nil
		})
		if err != nil {
			return t, err
		}
		size, err := s.size()
		if err != nil {
			return t, err
		}
		if signed && at.seq >= head.Last {
			if whole > 0 || t.in.path == "" {
				t.in, t.size = s, whole
			}
			if at.seq > 0 {
				t.last = at
			}
		}
		if rest < size {
			t.torn = append(t.torn, torn{s, rest})
		}
	}
	if !signed {
		t.breach = fmt.Sprintf("record %d, the last that the head signs, is not there as it was signed", head.Last)
	}
	return t, nil
}

// afterCrash keeps aside what is half written, and says what nobody signed.
func (l *Log) afterCrash(t tail) ([]Record, error) {
	var records []Record
	for _, piece := range t.torn {
		kept, err := piece.keepAside(l.Now())
		if err != nil {
			return nil, err
		}
		records = append(records, l.note(Recovered, fmt.Sprintf("%s ended in what is no record, as when a hub is killed while it writes; it is kept in %s", piece.name(), kept)))
	}
	if t.last.seq > l.head.Last {
		records = append(records, l.note(Recovered, fmt.Sprintf("records %d to %d were written after the last head that was signed, as when a hub is killed", l.head.Last+1, t.last.seq)))
	}
	l.head.Last, l.head.Hash = t.last.seq, t.last.hash
	if t.in.path == "" || t.size == 0 {
		return records, nil // the next record begins a file
	}
	opened, err := l.open(t.in.path)
	if err != nil {
		return nil, err
	}
	l.file, l.size = opened, t.size
	return records, nil
}

// keepAside moves the bytes to a file of their own.
func (p torn) keepAside(now time.Time) (name string, err error) {
	in, err := os.OpenFile(p.path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if _, err := in.Seek(p.at, io.SeekStart); err != nil {
		return "", err
	}
	name = fmt.Sprintf("%s.torn-%d", p.name(), now.UnixNano())
	out, err := os.OpenFile(filepath.Join(filepath.Dir(p.path), name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return "", err
	}
	if p.at == 0 {
		return name, os.Remove(p.path)
	}
	return name, errors.Join(in.Truncate(p.at), in.Sync())
}

// afterBreach goes on in a file of its own behind all numbers in use. What was
// found stays as it is, the old head beside the new one.
func (l *Log) afterBreach(all []segment, head Head, what string, started Record) ([]Record, error) {
	at := link{head.Last, head.Hash}
	first, previous := head.First, head.Previous
	for i, s := range all {
		_, err := s.walk(func(_ int64, line []byte) error {
			next, prev, err := parse(line)
			if err != nil {
				return nil // which is what Verify is for
			}
			if head.Log == "" && i == 0 && first == 0 {
				first, previous = next.seq, prev
			}
			if next.seq > at.seq {
				at = next
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if s.first > at.seq {
			at = link{s.first, at.hash} // its name is taken
		}
	}
	old := filepath.Join(l.Dir, headName)
	if err := os.Rename(old, fmt.Sprintf("%s.breached-%d", old, l.Now().UnixNano())); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := l.begin(); err != nil {
		return nil, err
	}
	l.head.Last = at.seq
	if at.hash != "" {
		l.head.Hash = at.hash
	}
	if first != 0 {
		l.head.First, l.head.Previous = first, previous
	}
	said := "no head"
	if head.Log != "" {
		said = fmt.Sprintf("a head for records up to %d with hash %s, signed at %s", head.Last, head.Hash, head.Time.Format(time.RFC3339))
	}
	return []Record{l.note(Breached, fmt.Sprintf("the hub found %s, and this: %s", said, what)), started}, nil
}
