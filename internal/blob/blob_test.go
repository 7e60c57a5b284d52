package blob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/desired"
)

func open(t *testing.T, dir string) *blob.Store {
	t.Helper()
	s, err := blob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *blob.Store, text string) desired.Digest {
	t.Helper()
	d := desired.Sum([]byte(text))
	if err := s.Put(d, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return d
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestABlobIsThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("kind: ConfigMap\n", 5000)
	d := put(t, open(t, dir), text)
	s := open(t, dir)
	if data, err := s.Get(d); err != nil || string(data) != text {
		t.Fatalf("got %d bytes, %v", len(data), err)
	}
	if !s.Has(d) {
		t.Error("Has does not see it")
	}
	entries, err := s.List()
	if err != nil || len(entries) != 1 || entries[0].Digest != d {
		t.Fatalf("list: %v, %v", entries, err)
	}
	if size, err := s.Size(); err != nil || size == 0 || size > int64(len(text))/10 {
		t.Errorf("size %d, %v: content should be compressed", size, err)
	}
	if err := s.Delete(d); err != nil || s.Has(d) {
		t.Errorf("delete: %v", err)
	}
	if err := s.Delete(d); err != nil {
		t.Errorf("deleting again: %v", err)
	}
	if _, err := s.Get(d); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
	}
}

func TestDamageIsFoundMovedAsideAndMendedByPut(t *testing.T) {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"cut":             func(b []byte) []byte { return b[:len(b)/2] },
		"empty":           func([]byte) []byte { return nil },
		"a flipped bit":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"other content":   func([]byte) []byte { return encoder.EncodeAll([]byte("else"), nil) },
		"trailing frames": func(b []byte) []byte { return append(b, encoder.EncodeAll([]byte("more"), nil)...) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			d := put(t, s, "some content")
			path := files(t, dir)[0]
			packed, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(packed), 0o600); err != nil {
				t.Fatal(err)
			}
			if data, err := s.Get(d); !errors.Is(err, blob.ErrCorrupt) || !strings.Contains(err.Error(), path+".corrupt") {
				t.Fatalf("got %q, %v; want ErrCorrupt naming the file", data, err)
			}
			if _, err := os.Stat(path + ".corrupt"); err != nil {
				t.Errorf("not kept aside: %v", err)
			}
			if _, err := s.Get(d); !errors.Is(err, blob.ErrMissing) {
				t.Errorf("afterwards: %v, want ErrMissing", err)
			}
			put(t, s, "some content")
			if _, err := s.Get(d); err != nil {
				t.Errorf("after putting it again: %v", err)
			}
		})
	}
}

func TestPutMendsDamageThatNobodyHasReadYet(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	d := put(t, s, "some content")
	if err := os.WriteFile(files(t, dir)[0], []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, s, "some content")
	if _, err := s.Get(d); err != nil {
		t.Error(err)
	}
}

func TestHostileDigestsReachNoFile(t *testing.T) {
	parent := t.TempDir()
	s := open(t, filepath.Join(parent, "store"))
	if err := os.WriteFile(filepath.Join(parent, "x.zst"), []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []desired.Digest{
		"", "sha256:", "sha256:../x", "../x", "md5:abc", "sha256:" + desired.Digest(strings.Repeat("A", 64)),
		"sha256:" + desired.Digest(strings.Repeat("a", 65)), desired.Digest("sha256:" + strings.Repeat("a", 62) + "/x"),
		desired.Digest("sha256:" + strings.Repeat("a", 64) + "\n"),
	} {
		if err := s.Put(d, nil); err == nil {
			t.Errorf("put %q", d)
		}
		if _, err := s.Get(d); err == nil || errors.Is(err, blob.ErrMissing) {
			t.Errorf("get %q: %v", d, err)
		}
		if err := s.Delete(d); err == nil {
			t.Errorf("deleted %q", d)
		}
		if s.Has(d) {
			t.Errorf("has %q", d)
		}
	}
	if err := s.Put(desired.Sum([]byte("a")), []byte("b")); err == nil {
		t.Error("bytes of another digest were stored")
	}
	if got := files(t, parent); len(got) != 1 {
		t.Errorf("files %v", got)
	}
}

func TestACrashInTheMiddleOfAWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	d := put(t, s, "some content")
	left := filepath.Join(filepath.Dir(files(t, dir)[0]), ".writing-123")
	young := left + "4"
	for _, path := range []string{left, young} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the left-over is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("a file that another process may be writing is gone: %v", err)
	}
	if entries, err := s.List(); err != nil || len(entries) != 1 || entries[0].Digest != d {
		t.Errorf("list: %v, %v", entries, err)
	}
}

func TestPuttingAgainMakesABlobYoung(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "some content")
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(files(t, dir)[0], old, old); err != nil {
		t.Fatal(err)
	}
	put(t, s, "some content")
	entries, err := s.List()
	if err != nil || !entries[0].Stored.After(old.Add(time.Hour)) {
		t.Errorf("stored %v, %v", entries[0].Stored, err)
	}
}

func TestManyWritersReadersAndDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	texts := make([][]byte, 8)
	for i := range texts {
		texts[i] = bytes.Repeat(fmt.Appendf(nil, "content %d\n", i), 200)
	}
	var all sync.WaitGroup
	for worker := range 6 {
		random := rand.New(rand.NewPCG(1, uint64(worker)))
		all.Go(func() {
			for range 60 {
				text := texts[random.IntN(len(texts))]
				d := desired.Sum(text)
				switch random.IntN(4) {
				case 0, 1:
					if err := s.Put(d, text); err != nil {
						t.Errorf("put: %v", err)
					}
				case 2:
					if err := s.Delete(d); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
				data, err := s.Get(d)
				if err == nil && !bytes.Equal(data, text) {
					t.Error("read something else")
				}
				if err != nil && !errors.Is(err, blob.ErrMissing) {
					t.Errorf("get: %v", err)
				}
			}
		})
	}
	all.Wait()
}
