package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/archive"
)

var small = archive.Limits{Files: 20, Bytes: 1 << 20, File: 64 << 10, Depth: 5}

// packed is an archive of entries, each with as many bytes as its header says.
func packed(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	files := tar.NewWriter(zip)
	for _, h := range entries {
		if h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if err := files.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(files, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(files.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func unpack(t testing.TB, data []byte, l archive.Limits) (string, error) {
	t.Helper()
	dir := t.TempDir()
	f, err := archive.Into(dir, l)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return dir, f.TarGzip(t.Context(), bytes.NewReader(data))
}

func file(name string, size int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size}
}

func TestAnArchiveIsUnpackedAsItWasMade(t *testing.T) {
	dir, err := unpack(t, packed(t, tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "web/", Typeflag: tar.TypeDir},
		file("web/a.yaml", 3), file("./web/sub/b.yaml", 4), tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}), small)
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"web/a.yaml": 3, "web/sub/b.yaml": 4} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Size() != size || !info.Mode().IsRegular() {
			t.Errorf("%s is %v, %v", name, info, err)
		}
	}
}

func TestHostileArchivesAreRefusedByName(t *testing.T) {
	var many []tar.Header
	for n := range 30 {
		many = append(many, file(fmt.Sprint("f", n), 0))
	}
	var bomb []tar.Header
	for n := range 19 {
		bomb = append(bomb, file(fmt.Sprint("f", n), small.File))
	}
	whole := packed(t, file("a", 5000))
	for name, c := range map[string]struct {
		data  []byte
		words string
	}{
		"upwards":             {packed(t, file("web/../../x", 1)), `"web/../../x" leads out`},
		"absolute":            {packed(t, file("/etc/cron.d/x", 1)), "absolute"},
		"a git folder":        {packed(t, file("web/.GIT/config", 1)), ".GIT/config"},
		"another separator":   {packed(t, file(`web\..\x`, 1)), "leads out"},
		"a control character": {packed(t, file("a\x1bb", 1)), "leads out"},
		"a link":              {packed(t, tar.Header{Name: "etc", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, file("etc/passwd", 1)), "etc is a link"},
		"a hard link":         {packed(t, tar.Header{Name: "p", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), "p is a link"},
		"a device":            {packed(t, tar.Header{Name: "null", Typeflag: tar.TypeChar}), "null is neither"},
		"a pipe":              {packed(t, tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}), "pipe is neither"},
		"twice":               {packed(t, file("a", 1), file("./a", 1)), "a is in it twice"},
		"a file as a folder":  {packed(t, file("a", 1), file("a/b", 1)), "a is a file and a folder"},
		"a large file":        {packed(t, file("big", small.File+1)), "big has"},
		"many files":          {packed(t, many...), "more than 20 files"},
		"a bomb":              {packed(t, bomb...), "1 MiB"},
		"deep":                {packed(t, file("1/2/3/4/5/6", 1)), "folders deep"},
		"cut off":             {whole[:len(whole)/2], "cannot be read"},
		"no archive":          {[]byte("hello"), "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := unpack(t, c.data, small)
			var failure *source.Failure
			if !errors.As(err, &failure) || !failure.Lasting || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v; wanted words on %q", err, c.words)
			}
			onlyFiles(t, dir)
		})
	}
}

// The size of a file beside an archive is whatever somebody wrote down.
func TestAFileOfLessThanNothingMakesNoRoom(t *testing.T) {
	folder, err := archive.Into(t.TempDir(), small)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	var failure *source.Failure
	if err := folder.File("a", strings.NewReader(""), -1<<40); !errors.As(err, &failure) || !failure.Lasting {
		t.Errorf("got %v", err)
	}
	if size := folder.Size(); size < 0 {
		t.Errorf("the folder takes %d bytes", size)
	}
}

func onlyFiles(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !d.Type().IsRegular() {
			t.Errorf("%s is %v", path, d.Type())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWhatComesIsWhatWasNamed(t *testing.T) {
	const hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	f, err := archive.Receive(t.TempDir(), strings.NewReader("hello"), hello, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Discard(f)
	if data, err := io.ReadAll(f); string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		in      io.Reader
		limit   int64
		words   string
		lasting bool
	}{
		"another":   {strings.NewReader("hullo"), 5, "and not " + hello, false},
		"too much":  {strings.NewReader("hello"), 4, "more than", true},
		"broke off": {io.MultiReader(strings.NewReader("he"), failing{}), 5, "reset", false},
	} {
		_, err := archive.Receive(dir, c.in, hello, c.limit)
		var failure *source.Failure
		if err == nil || !strings.Contains(err.Error(), c.words) || errors.As(err, &failure) && failure.Lasting != c.lasting {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v stays", left)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// Whatever comes, nothing is written that is no file, and nothing outside.
func FuzzUnpack(f *testing.F) {
	f.Add(packed(f, file("a", 3), file("b/c", 3)))
	f.Add(packed(f, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, file("l/x", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		around := t.TempDir()
		dir := filepath.Join(around, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		to, err := archive.Into(dir, small)
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		_ = to.TarGzip(t.Context(), bytes.NewReader(data))
		_ = to.Tar(t.Context(), bytes.NewReader(data))
		onlyFiles(t, dir)
		if beside, err := os.ReadDir(around); err != nil || len(beside) != 1 {
			t.Errorf("%v lies beside, %v", beside, err)
		}
	})
}
