package sandbox

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// witnessed is how many lines of each log a failed test shows: enough for what
// a component complained of last, few enough to read them all.
const witnessed = 12

// tellOnFailure makes a test that fails say how its clusters are before they
// end: most of what fails once in a hundred runs cannot be asked again.
func (f *Fleet) tellOnFailure(t testing.TB) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		clusters, err := f.Clusters()
		if err != nil {
			t.Logf("the clusters of this test: %v", err)
		}
		for _, c := range clusters {
			t.Log(c.witness())
		}
	})
}

// witness is what can be told of a cluster without asking it anything.
func (c *Cluster) witness() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s is %s, with faults %v", c.Name(), c.Status(), c.Faults())
	for _, component := range c.Components() {
		process, _ := c.process(component)
		state := "runs"
		if !process.Alive() {
			state = "has ended"
		}
		fmt.Fprintf(&b, "\n%s (process %d) %s; the end of its log:", component, process.PID, state)
		for _, line := range lastLines(c.logPath(component), witnessed) {
			fmt.Fprintf(&b, "\n    %s", line)
		}
	}
	return b.String()
}

// lastLines are at most n lines from the end of a file, or why there are none.
func lastLines(path string, n int) []string {
	file, err := os.Open(path)
	if err != nil {
		return []string{err.Error()}
	}
	defer file.Close()
	tail := int64(n) * 1024
	if info, err := file.Stat(); err == nil && info.Size() > tail {
		file.Seek(-tail, io.SeekEnd)
	}
	data, _ := io.ReadAll(file)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[max(0, len(lines)-n):]
}
