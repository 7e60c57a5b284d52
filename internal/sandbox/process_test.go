package sandbox

import (
	"os"
	"testing"
)

func TestProcessIsTheOneThatWasRecorded(t *testing.T) {
	self, err := processOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !self.Alive() {
		t.Fatal("this process is not alive")
	}
	for name, other := range map[string]Process{
		"no process":            {},
		"an earlier start":      {PID: self.PID, StartTicks: self.StartTicks - 1, BootID: self.BootID},
		"another boot":          {PID: self.PID, StartTicks: self.StartTicks, BootID: "another"},
		"a process that is not": {PID: 1 << 30, StartTicks: 1, BootID: self.BootID},
	} {
		if other.Alive() {
			t.Errorf("%s counts as alive", name)
		}
		if err := other.kill(); err != nil {
			t.Errorf("ending %s: %v", name, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (sleep) S 1 12 12 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 987 5533696 200"))
	f.Add([]byte("12 (a) b (c)) Z 1 12 12 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 987 5533696 200"))
	f.Add([]byte(""))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if stat, err := parseStat(line); err == nil && stat.state == 0 {
			t.Errorf("%q: %+v without an error", line, stat)
		}
	})
}

func TestParseStatIsNotFooledByACommandsName(t *testing.T) {
	stat, err := parseStat([]byte("12 (x) R 7 (y)) S 1 12 12 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 3 0 987 5533696 200"))
	if want := (procStat{state: 'S', threads: 3, ticks: 987}); err != nil || stat != want {
		t.Errorf("%+v, want %+v: %v", stat, want, err)
	}
}

// What is started in the place of a killed process needs its port.
func TestAProcessHasEndedWhenItsLastThreadHas(t *testing.T) {
	for line, want := range map[string]bool{
		"12 (a) S 1 12 12 0 -1 0 100 0 0 0 0 0 0 0 20 0 9 0 987 5533696 200": false,
		"12 (a) Z 1 12 12 0 -1 0 100 0 0 0 0 0 0 0 20 0 2 0 987 0 0":         false,
		"12 (a) Z 1 12 12 0 -1 0 100 0 0 0 0 0 0 0 20 0 1 0 987 0 0":         true,
	} {
		if stat, err := parseStat([]byte(line)); err != nil || stat.ended() != want {
			t.Errorf("%s: ended is %t: %v", line, stat.ended(), err)
		}
	}
}
