package bench

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMemoryCountsWhatNobodyElseMaps(t *testing.T) {
	got, err := parseMemory(`00400000-7ffd1c3f6000 ---p 00000000 00:00 0                              [rollup]
Rss:              204800 kB
Shared_Clean:      51200 kB
Private_Clean:     10240 kB
Private_Dirty:     40960 kB
Private_Hugetlb:    2048 kB
Swap:                  0 kB
`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Memory{Resident: 200, Private: 52, Files: 10}, got); diff != "" {
		t.Error(diff)
	}
	if own, err := MemoryOf(os.Getpid()); err != nil || own.Private <= 0 || own.Resident < own.Private || own.Private < own.Files {
		t.Errorf("this process has %+v, %v", own, err)
	}
	if _, err := CPU(os.Getpid()); err != nil {
		t.Error(err)
	}
}
