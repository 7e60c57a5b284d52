package demo

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/sandbox"
)

func open(t *testing.T, dir string) (*Demo, *strings.Builder) {
	t.Helper()
	words := &strings.Builder{}
	d, err := New(Options{Dir: dir, Bin: t.TempDir(), Shop: t.TempDir(), Out: words, Words: words})
	if err != nil {
		t.Fatal(err)
	}
	return d, words
}

func TestAFolderThatIsNoDemoIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, words := open(t, dir)
	if _, _, err := d.prepare(); err == nil || !strings.Contains(err.Error(), "not a demo") {
		t.Errorf("a demo moves into it: %v", err)
	}
	if err := d.Down(); err != nil || !strings.Contains(words.String(), "there is no demo") {
		t.Errorf("down: %v, %q", err, words)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestPortsAreChosenOnceAndKept(t *testing.T) {
	d, _ := open(t, filepath.Join(t.TempDir(), "demo"))
	first, again, err := d.prepare()
	if err != nil || again {
		t.Fatal(again, err)
	}
	second, again, err := d.prepare()
	if err != nil || !again || second.API != first.API || second.Agents != first.Agents {
		t.Errorf("%+v, then %+v: %v, %v", first, second, again, err)
	}
}

func TestAPortThatIsTakenIsAvoided(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, err := freeAddress(l.Addr().(*net.TCPAddr).Port)
	if err != nil || got == l.Addr().String() {
		t.Errorf("%s, %v", got, err)
	}
}

func TestDownEndsWhatWasRecordedAndRemovesTheFolder(t *testing.T) {
	d, _ := open(t, filepath.Join(t.TempDir(), "demo"))
	r, _, err := d.prepare()
	if err != nil {
		t.Fatal(err)
	}
	if r.Hub, err = sandbox.StartDetached(d.path("logs", "hub.log"), "sleep", "600"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Hub.Kill() })
	if err := d.save(r); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "a", "agent/b", "cluster/b", "hub/a", "agent/staging", "cluster/staging"} {
		if err := d.Kill(wrong); err == nil {
			t.Errorf("%q can be killed", wrong)
		}
	}
	if err := d.Kill("hub"); err != nil || r.Hub.Alive() {
		t.Fatalf("kill the hub: %v", err)
	}
	if r.Hub, err = sandbox.StartDetached(d.path("logs", "hub.log"), "sleep", "600"); err != nil {
		t.Fatal(err)
	}
	if err := d.save(r); err != nil {
		t.Fatal(err)
	}
	if err := d.Down(); err != nil {
		t.Fatal(err)
	}
	if r.Hub.Alive() {
		t.Error("the hub is still there")
	}
	if _, err := os.Stat(d.dir); err == nil {
		t.Error("so is the folder")
	}
}

func TestTwoCommandsDoNotWorkOnOneDemo(t *testing.T) {
	d, _ := open(t, filepath.Join(t.TempDir(), "demo"))
	unlock, err := d.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := d.Down(); err == nil || !strings.Contains(err.Error(), "wait until it is done") {
		t.Errorf("a second command at once: %v", err)
	}
	unlock()
	if err := d.Down(); err != nil {
		t.Errorf("and after the first: %v", err)
	}
}
