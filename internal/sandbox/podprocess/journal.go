package podprocess

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

// Sizes of a container's log. A kubelet's are 10 MiB and 16 KiB.
const (
	maxLog  = 4 << 20
	maxLine = 16 << 10
)

// Line is one line of a container's log.
type Line struct {
	At   time.Time
	Text string
}

// journal writes what one run of a container says, each line with its time.
// When the file is full it begins anew.
type journal struct {
	mu   sync.Mutex
	file *os.File
	size int
}

func newJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{file: file}, nil
}

// follow writes lines until the words end. A longer line is cut in pieces.
func (j *journal) follow(words io.Reader) {
	in := bufio.NewReaderSize(words, maxLine)
	for {
		line, _, err := in.ReadLine()
		if err != nil {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.file.Close()
			return
		}
		j.add(time.Now(), string(line))
	}
}

func (j *journal) add(at time.Time, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.size > maxLog {
		if err := j.file.Truncate(0); err != nil {
			return // what a full disk swallows, nobody reads
		}
		j.size = 0
	}
	n, _ := fmt.Fprintf(j.file, "%s %s\n", at.UTC().Format(time.RFC3339Nano), text)
	j.size += n
}

// readLog is what a run has said by now. One that has said nothing has no file.
func readLog(path string) ([]Line, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var lines []Line
	for raw := range strings.Lines(string(data)) {
		if line, ok := parseLine(raw); ok {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// parseLine leaves out a line that is not written to its end yet.
func parseLine(raw string) (Line, bool) {
	stamp, text, ok := strings.Cut(raw, " ")
	text, whole := strings.CutSuffix(text, "\n")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	return Line{At: at, Text: text}, ok && whole && err == nil
}
