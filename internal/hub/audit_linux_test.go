package hub

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Keys that were mounted before there was an audit log have none of it, and take none.
func TestTheKeyOfTheAuditLogComesOfKeysThatAreMountedReadOnly(t *testing.T) {
	written, mounted := t.TempDir(), t.TempDir()
	if _, err := refKey(written); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(written, "references.key"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(mounted, "references.key")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{filepath.Dir(mounted): 0o755, mounted: 0o555, file: 0o444} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	key, err := auditKey(written)
	if err != nil {
		t.Fatal(err)
	}
	again, err := auditKey(written)
	if err != nil || !again.Equal(key) {
		t.Errorf("the key that was written is another: %v", err)
	}
	asNobody(func() { again, err = auditKey(mounted) })
	if err != nil || !again.Equal(key) {
		t.Errorf("the key that cannot be written is another: %v", err)
	}
	if files, err := os.ReadDir(mounted); err != nil || len(files) != 1 {
		t.Errorf("there are %v, %v", files, err)
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
