package component

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"atoll.dev/atoll/internal/sandbox/traffic"
)

// A simulated container says something when it starts, every ten seconds
// while it runs, and when it ends. That is computed, not kept: it is the same
// whoever asks, and survives a restart of the sandbox. The requests that it
// answered are kept, in memory, and the last 500 of them.
const (
	logInterval = 10 * time.Second
	maxLogLines = 1000
)

type logLine struct {
	at   time.Time
	text string
}

// containerLog is what a container has said by now, and whether that was all.
func containerLog(pod *corev1.Pod, container string, now time.Time) (lines []logLine, ended bool) {
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	i := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == container })
	if i < 0 {
		return nil, false
	}
	status := statuses[i]
	run, terminated := status.State.Running, status.State.Terminated
	if run == nil && terminated == nil {
		terminated = status.LastTerminationState.Terminated // between two crashes
	}
	switch {
	case run != nil:
		return append(startLines(pod, status, run.StartedAt.Time), aliveLines(run.StartedAt.Time, now)...), false
	case terminated != nil:
		// A Job's container is recorded as having started when it ended.
		last := logLine{terminated.FinishedAt.Time, fmt.Sprintf("exiting with code %d", terminated.ExitCode)}
		return append(startLines(pod, status, terminated.StartedAt.Time), last), status.State.Terminated != nil
	}
	return nil, false
}

func startLines(pod *corev1.Pod, status corev1.ContainerStatus, at time.Time) []logLine {
	return []logLine{{at, fmt.Sprintf("container %s of %s/%s started from image %s on node %s (simulated)",
		status.Name, pod.Namespace, pod.Name, status.Image, pod.Spec.NodeName)}}
}

func aliveLines(start, now time.Time) []logLine {
	count := int(now.Sub(start) / logInterval)
	var lines []logLine
	for n := max(1, count-maxLogLines+1); n <= count; n++ {
		lines = append(lines, logLine{start.Add(time.Duration(n) * logInterval), fmt.Sprintf("serving for %s", time.Duration(n)*logInterval)})
	}
	return lines
}

// withRequests puts what was kept between what is computed.
func withRequests(lines []logLine, requests []traffic.Line) []logLine {
	for _, r := range requests {
		lines = append(lines, logLine{r.At, r.Text})
	}
	slices.SortStableFunc(lines, func(a, b logLine) int { return a.at.Compare(b.at) })
	return lines
}

// logOptions are those of v1.PodLogOptions that the API server passes on.
type logOptions struct {
	follow, timestamps bool
	previous           bool // of the run before this one
	tail               int  // -1 is all
	limit              int  // bytes; 0 is none
	since              time.Duration
	sinceTime          time.Time
}

func parseLogOptions(query url.Values) (logOptions, error) {
	o := logOptions{tail: -1}
	for name, set := range map[string]func(string) error{
		"follow":     func(v string) (err error) { o.follow, err = strconv.ParseBool(v); return },
		"previous":   func(v string) (err error) { o.previous, err = strconv.ParseBool(v); return },
		"timestamps": func(v string) (err error) { o.timestamps, err = strconv.ParseBool(v); return },
		"tailLines":  func(v string) (err error) { o.tail, err = natural(v); return },
		"limitBytes": func(v string) (err error) { o.limit, err = natural(v); return },
		"sinceSeconds": func(v string) error {
			seconds, err := natural(v)
			o.since = time.Duration(seconds) * time.Second
			return err
		},
		"sinceTime": func(v string) (err error) { o.sinceTime, err = time.Parse(time.RFC3339, v); return },
	} {
		if value := query.Get(name); value != "" {
			if err := set(value); err != nil {
				return o, fmt.Errorf("%s %q: %w", name, value, err)
			}
		}
	}
	return o, nil
}

func natural(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 31)
	return int(n), err
}

// window drops the lines that were not asked for.
func (o logOptions) window(lines []logLine, now time.Time) []logLine {
	from := o.sinceTime
	if o.since > 0 {
		from = now.Add(-o.since)
	}
	var kept []logLine
	for _, line := range lines {
		if !line.at.Before(from) {
			kept = append(kept, line)
		}
	}
	if o.tail >= 0 && len(kept) > o.tail {
		kept = kept[len(kept)-o.tail:]
	}
	return kept
}

// logWriter writes each line once, although a follower computes all again.
type logWriter struct {
	out     http.ResponseWriter
	options logOptions
	last    logLine
	written int
}

func (w *logWriter) write(lines []logLine) error {
	for _, line := range lines {
		if line.at.Before(w.last.at) || line == w.last {
			continue
		}
		w.last = line
		text := line.text + "\n"
		if w.options.timestamps {
			text = line.at.UTC().Format(time.RFC3339Nano) + " " + text
		}
		if limit := w.options.limit; limit > 0 && w.written+len(text) > limit {
			text = text[:limit-w.written]
		}
		n, err := w.out.Write([]byte(text))
		w.written += n
		if err != nil || (w.options.limit > 0 && w.written >= w.options.limit) {
			return err
		}
	}
	return http.NewResponseController(w.out).Flush()
}
