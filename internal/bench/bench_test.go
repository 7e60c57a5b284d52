package bench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPercentilesAreByNearestRank(t *testing.T) {
	var sample []time.Duration
	for i := 200; i > 0; i-- {
		sample = append(sample, time.Duration(i)*time.Millisecond)
	}
	want := Distribution{Samples: 200, P50: 100, P90: 180, P99: 198, Max: 200}
	if diff := cmp.Diff(want, Distributed(sample)); diff != "" {
		t.Error(diff)
	}
	if sample[0] != 200*time.Millisecond {
		t.Error("the sample itself was sorted")
	}
	one := Distributed([]time.Duration{1500 * time.Microsecond})
	if diff := cmp.Diff(Distribution{Samples: 1, P50: 1.5, P90: 1.5, P99: 1.5, Max: 1.5}, one); diff != "" {
		t.Error(diff)
	}
	if Distributed(nil) != (Distribution{}) {
		t.Error("no sample has percentiles")
	}
}

func TestPercentilesAreInOrderAndOfTheSample(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.SliceOfN(rapid.IntRange(0, 1_000_000), 1, 500).Draw(t, "micros")
		var sample []time.Duration
		for _, m := range micros {
			sample = append(sample, time.Duration(m)*time.Microsecond)
		}
		d := Distributed(sample)
		if d.P50 > d.P90 || d.P90 > d.P99 || d.P99 > d.Max {
			t.Fatalf("out of order: %+v", d)
		}
		atMost := 0
		for _, s := range sample {
			if milliseconds(s) <= d.P99 {
				atMost++
			}
		}
		if atMost*100 < len(sample)*99 {
			t.Fatalf("%d of %d are within the p99 of %+v", atMost, len(sample), d)
		}
		if !slices.Contains(micros, int(d.P99*1000+0.5)) {
			t.Fatalf("p99 never happened: %+v", d)
		}
	})
}

func TestMedianIsTheLowerMiddle(t *testing.T) {
	for want, values := range map[float64][]float64{2: {3, 1, 2}, 1: {2, 1}, 0: nil} {
		if got := Median(values); got != want {
			t.Errorf("median of %v is %v", values, got)
		}
	}
}

func TestAChangeArrivesWithTheLastPlace(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	a := NewArrivals(3, 2)
	a.Sent(at(0))
	a.Seen(0, 0, at(5))
	if len(a.Took()) != 0 {
		t.Fatal("arrived although one place has not seen it")
	}
	a.Seen(1, 0, at(9))
	a.Sent(at(10))
	a.Sent(at(20))
	a.Seen(0, 2, at(26)) // the change before was overtaken
	a.Seen(1, 1, at(27))
	a.Seen(1, 0, at(28)) // an old event moves nothing back
	select {
	case <-a.All():
		t.Fatal("all arrived although one place lacks the last")
	default:
	}
	a.Seen(1, 2, at(30))
	<-a.All()
	want := []time.Duration{9 * time.Millisecond, 17 * time.Millisecond, 10 * time.Millisecond}
	if diff := cmp.Diff(want, a.Took()); diff != "" {
		t.Error(diff)
	}
}

func TestAResultIsWrittenWithItsRatio(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "results")
	r := Result{Name: "x-5", Value: 81.236, Unit: "ms", Limit: 40.04, Aim: "< 100 ms",
		Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Machine: Machine{Cores: 2, MemoryMB: 24000, CPU: "a CPU", Go: "go1"},
		Ours: &Distribution{Samples: 3}}.Complete()
	if r.Value != 81.2 || r.Limit != 40 || r.Ratio != 2.03 {
		t.Errorf("rounded to %g of %g, %g", r.Value, r.Limit, r.Ratio)
	}
	for range 2 { // the second replaces the first
		if err := Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "x-5.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Error(diff)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files were left", len(files))
	}
}

func TestTheTableSaysWhenThereIsNoLimit(t *testing.T) {
	var out strings.Builder
	err := Table(&out, []Result{
		{Name: "a", Value: 12.5, Limit: 10, Ratio: 1.25, Unit: "ms", Aim: "< 20 ms", Ours: &Distribution{Samples: 300}},
		{Name: "b", Value: 0, Unit: "writes", Aim: "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "" +
		"FIGURE  VALUE  RAW LIMIT  UNIT    RATIO  AIM      SAMPLES\n" +
		"a       12.5   10         ms      1.25   < 20 ms  300\n" +
		"b       0      -          writes  -      0        -\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
