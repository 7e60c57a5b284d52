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
		state, ticks, err := parseStat(line)
		if err != nil && ticks != 0 && state == 0 {
			t.Errorf("%q: ticks %d with error %v", line, ticks, err)
		}
	})
}

func TestParseStatIsNotFooledByACommandsName(t *testing.T) {
	state, ticks, err := parseStat([]byte("12 (x) R 7 (y)) S 1 12 12 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 987 5533696 200"))
	if err != nil || state != 'S' || ticks != 987 {
		t.Errorf("state %c, start %d: %v", state, ticks, err)
	}
}
