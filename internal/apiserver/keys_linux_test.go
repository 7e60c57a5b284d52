package apiserver

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKeysInADirectoryThatCannotBeWritten(t *testing.T) {
	full, empty := t.TempDir(), t.TempDir()
	if err := MakeKeys(full); err != nil {
		t.Fatal(err)
	}
	mode := map[string]os.FileMode{filepath.Dir(full): 0o755, full: 0o555, empty: 0o555}
	for dir, mode := range mode {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(full, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Chmod(file, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(func() { err = MakeKeys(empty) })
	if err == nil || !strings.Contains(err.Error(), "atoll hub keys DIR") {
		t.Errorf("keys to be made there: %v", err)
	}
	asNobody(func() { err = MakeKeys(full) })
	if err != nil {
		t.Errorf("keys that were made before, mounted read-only: %v", err)
	}
}

// asNobody calls f without root's right to write everywhere, if it has that.
func asNobody(f func()) {
	const nobody = 65534
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread, whose right is gone, ends with the goroutine.
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			_, _ = unix.SetfsuidRetUid(nobody) // returns the uid before, and nothing else
		}
		f()
	}()
	<-done
}
