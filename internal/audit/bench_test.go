package audit

import (
	"context"
	"sync"
	"testing"
	"time"
)

// BenchmarkVerify is of a million records; it prints how many it reads a second.
func BenchmarkVerify(b *testing.B) {
	const records = 1_000_000
	o := options(b, b.TempDir())
	l := opened(b, o)
	last := make(chan error, records) // nobody waits for the others
	l.mu.Lock()
	for i := range records {
		r := act(i)
		r.Time, r.Groups, r.UserAgent = time.Now().UTC(), []string{"developers", "system:authenticated"}, "kubectl/v1.36.3 (linux/amd64)"
		r.Changes, _ = Changes(map[string]any{"spec": map[string]any{"replicas": 1}}, map[string]any{"spec": map[string]any{"replicas": 2}}, false)
		l.pending = append(l.pending, &entry{&r, last})
	}
	l.mu.Unlock()
	closed(b, l)
	for b.Loop() {
		began := time.Now()
		v, err := Verify(context.Background(), o.Dir, public(o))
		if err != nil || len(v.Findings) > 0 || v.Records < records {
			b.Fatalf("%v: %+v", err, v)
		}
		b.ReportMetric(float64(v.Records)/time.Since(began).Seconds(), "records/s")
	}
}

// BenchmarkAppend is of callers who each wait until their record is durable.
func BenchmarkAppend(b *testing.B) {
	l := opened(b, options(b, b.TempDir()))
	defer closed(b, l)
	const callers = 64
	work := make(chan int, callers)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := range work {
				if err := l.Append(context.Background(), act(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	began := time.Now()
	n := 0
	for b.Loop() {
		work <- n
		n++
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(n)/time.Since(began).Seconds(), "records/s")
}
