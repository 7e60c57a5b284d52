package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/internal/clock"
)

// What the fault says is what agents read, until it is over.
func TestTheClocksFileFollowsTheFault(t *testing.T) {
	f := New(t.TempDir())
	s := State{Spec: ClusterSpec{Name: "a"}}
	path := SkewPath(filepath.Join(f.dir, "a"))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	fault, err := Fault{Kind: Skewed, Skew: metav1.Duration{Duration: -10 * time.Minute}}.complete(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.Faults = []Fault{fault}
	for range 2 {
		if err := f.writeSkew(s); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if by, err := clock.Parse(string(data[:len(data)-1])); err != nil || by != -10*time.Minute {
		t.Errorf("agents read %q as %s, %v", data, by, err)
	}
	if got := fault.String(); got != "skewed clock behind 10m0s" {
		t.Errorf("it is called %q", got)
	}
	s.Faults[0].Until = time.Now().Add(-time.Second)
	for range 2 {
		if err := f.writeSkew(s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the fault, the file is still there: %v", err)
	}
	if _, err := (Fault{Kind: Skewed}).complete(time.Now()); err == nil {
		t.Error("a clock may be wrong by nothing")
	}
}
