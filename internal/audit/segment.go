package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segmentEnding is of the files that hold records. Each is named by the number of
// its first record, in as many digits as sort them.
const segmentEnding = ".jsonl"

type segment struct {
	path  string
	first uint64
}

func (s segment) name() string { return filepath.Base(s.path) }

func segmentAt(dir string, first uint64) segment {
	return segment{filepath.Join(dir, fmt.Sprintf("%020d%s", first, segmentEnding)), first}
}

// segments lists those in dir by their order.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the audit log: %w", err)
	}
	var out []segment
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), segmentEnding)
		first, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil || !e.Type().IsRegular() {
			continue
		}
		out = append(out, segment{filepath.Join(dir, e.Name()), first})
	}
	slices.SortFunc(out, func(a, b segment) int {
		if a.first != b.first {
			if a.first < b.first {
				return -1
			}
			return 1
		}
		return strings.Compare(a.path, b.path)
	})
	return out, nil
}

// from are the segments beginning with the one that holds seq.
func from(all []segment, seq uint64) []segment {
	i := len(all) - 1
	for i > 0 && all[i].first > seq {
		i--
	}
	return all[max(i, 0):]
}

// errStop ends a walk without being its failure.
var errStop = errors.New("stop")

// walk gives each whole line to visit, without its newline and with where it
// begins; visit may not keep it. The offset of what follows the last newline
// is the size of the file if nothing does.
func (s segment) walk(visit func(at int64, line []byte) error) (rest int64, err error) {
	file, err := os.Open(s.path)
	if err != nil {
		return 0, fmt.Errorf("open the audit log: %w", err)
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return rest, nil
		case errors.Is(err, bufio.ErrBufferFull):
			// As no record is this long, the rest is given in pieces that are none either.
		default:
			return rest, fmt.Errorf("read the audit log: %w", err)
		}
		if err := visit(rest, line[:len(line)-1]); err != nil {
			if errors.Is(err, errStop) {
				err = nil
			}
			return rest, err
		}
		rest += int64(len(line))
	}
}

// file is what a log is written to.
type file interface {
	io.WriterAt
	Sync() error
	Truncate(size int64) error
	Close() error
}

func openFile(path string) (file, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// syncDir makes names durable that were given in dir.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s segment) size() (int64, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return 0, fmt.Errorf("look at the audit log: %w", err)
	}
	return info.Size(), nil
}
