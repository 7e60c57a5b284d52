package traffic

import (
	"sync"
	"time"
)

// maxLines bounds what is kept of a container's log.
const maxLines = 500

// Line is one line of a container's log.
type Line struct {
	At   time.Time
	Text string
}

// journal is the last lines that a container said. The times of its lines
// rise, so that a reader can go on from the last line it has.
type journal struct {
	mu    sync.Mutex
	lines []Line // a ring once it is full
	next  int
	last  time.Time
}

func (j *journal) add(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := time.Now().Round(0)
	if !at.After(j.last) {
		at = j.last.Add(time.Nanosecond)
	}
	j.last = at
	if len(j.lines) < maxLines {
		j.lines = append(j.lines, Line{at, text})
		return
	}
	j.lines[j.next] = Line{at, text}
	j.next = (j.next + 1) % maxLines
}

// until is what was said up to a moment, oldest first.
func (j *journal) until(now time.Time) []Line {
	j.mu.Lock()
	defer j.mu.Unlock()
	var lines []Line
	for i := range j.lines {
		if line := j.lines[(j.next+i)%len(j.lines)]; !line.At.After(now) {
			lines = append(lines, line)
		}
	}
	return lines
}
