package git

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"atoll.dev/atoll/internal/source"
)

// hostile is a repository whose objects somebody made by hand.
type hostile struct{ elements []element }

func (h *hostile) add(kind byte, word, content string) string {
	h.elements = append(h.elements, element{kind: kind, stated: uint64(len(content)), content: []byte(content)})
	sum := sha1.Sum([]byte(fmt.Sprintf("%s %d\x00%s", word, len(content), content)))
	return string(sum[:])
}

// checkout has a tree of it, as the top of a commit, written.
func (h *hostile) checkout(t *testing.T, top string, l Limits) error {
	t.Helper()
	id := h.add(1, "commit", fmt.Sprintf("tree %x\nauthor A <a@example.com> 1 +0000\ncommitter A <a@example.com> 1 +0000\n\nm\n", top))
	dir := t.TempDir()
	f, err := receive(t.Context(), dir, bytes.NewReader(packed(uint32(len(h.elements)), h.elements...)), source.Remote{}, l)
	if err != nil {
		t.Fatal(err)
	}
	defer discard(f)
	r := newRepository(filepath.Join(dir, "repo"), source.Remote{})
	if err := r.add(f); err != nil {
		t.Fatal(err)
	}
	_, err = r.checkout(t.Context(), plumbing.Hash([]byte(id)), l)
	return err
}

func entry(mode, name, id string) string { return mode + " " + name + "\x00" + id }

func tooLarge(t *testing.T, err error, why string) {
	t.Helper()
	var failure *source.Failure
	if !errors.As(err, &failure) || failure.Reason != source.TooLarge || !failure.Lasting || !strings.Contains(err.Error(), why) {
		t.Errorf("it ends with %v; wanted words on %q", err, why)
	}
}

func TestFoldersWithoutEndAreNotReadIntoMemory(t *testing.T) {
	limits := DefaultLimits
	limits.Files = 1000
	for name, first := range map[string]func(h *hostile, below string) string{
		"folders in folders": func(_ *hostile, below string) string { return entry("40000", "a", below) },
		"links into them": func(h *hostile, below string) string {
			return entry("120000", "a", h.add(3, "blob", "b/c")) + entry("40000", "b", below)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hostile{}
			file := h.add(3, "blob", "x")
			var rest strings.Builder
			for i := range 50_000 {
				rest.WriteString(entry("100644", fmt.Sprintf("c%d", i), file))
			}
			below := h.add(2, "tree", rest.String())
			for range 20 {
				below = h.add(2, "tree", entry("40000", "a", below)+rest.String())
			}
			top := h.add(2, "tree", first(h, below))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := h.checkout(t, top, limits)
			runtime.ReadMemStats(&after)
			tooLarge(t, err, "more than 1000 files")
			took := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%d MB were allocated", took)
			if took > 64 {
				t.Errorf("it took %d MB", took)
			}
		})
	}
}

func TestWhatIsSaidOfManyLinksIsBounded(t *testing.T) {
	h := &hostile{}
	nowhere := h.add(3, "blob", strings.Repeat("x/", 2000)+"x")
	var links strings.Builder
	for i := range 5000 {
		links.WriteString(entry("120000", fmt.Sprintf("a%d", i), nowhere))
	}
	tooLarge(t, h.checkout(t, h.add(2, "tree", links.String()), DefaultLimits), "too many links")
}

func TestACommitWithABookInItIsRefused(t *testing.T) {
	h := &hostile{}
	top := h.add(2, "tree", "")
	book := h.add(1, "commit", fmt.Sprintf("tree %x\n\n%s", top, strings.Repeat("x", 2<<20)))
	tag := h.add(4, "tag", fmt.Sprintf("object %x\ntype commit\ntag v1\n\nm\n", book))
	dir := t.TempDir()
	f, err := receive(t.Context(), dir, bytes.NewReader(packed(3, h.elements...)), source.Remote{}, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	defer discard(f)
	r := newRepository(filepath.Join(dir, "repo"), source.Remote{})
	if err := r.add(f); err != nil {
		t.Fatal(err)
	}
	_, err = r.checkout(t.Context(), plumbing.Hash([]byte(tag)), DefaultLimits)
	tooLarge(t, err, "more than 1 MiB")
}

func TestAServerThatNeverComesToThePackIsLeft(t *testing.T) {
	request := packp.NewUploadPackRequest()
	request.Depth = packp.DepthCommits(1)
	line := &bytes.Buffer{}
	if err := pktline.NewEncoder(line).EncodeString("shallow " + strings.Repeat("0", 40) + "\n"); err != nil {
		t.Fatal(err)
	}
	endless := &repeat{text: line.Bytes()}
	_, err := pack(t.Context(), endless, request, source.Remote{}, wish{})
	var failure *source.Failure
	if !errors.As(err, &failure) || endless.read > 2<<20 {
		t.Errorf("it read %d bytes, and says %v", endless.read, err)
	}
}

type repeat struct {
	text []byte
	read int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.read > 64<<20 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, r.text[r.read%len(r.text):])
	r.read += n
	return n, nil
}

type unreachable struct{}

func (unreachable) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no route")
}

func TestRepositoriesThatAreOnlyAskedForAreForgottenToo(t *testing.T) {
	limits := DefaultLimits
	limits.Repositories, limits.Listed = 5, 1<<20
	c, err := Open(filepath.Join(t.TempDir(), "git"), unreachable{}, limits, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		a := Access{Remote: source.Remote{Scheme: "https", Host: "git.example.com", Port: "443", Path: fmt.Sprint("/", i)}}
		if _, err := c.Refs(t.Context(), a, time.Now()); err == nil {
			t.Fatal("it was reached")
		}
	}
	if len(c.repos) > limits.Repositories {
		t.Errorf("%d repositories are remembered", len(c.repos))
	}
	for _, r := range c.repos {
		r.refs = source.Refs{}
		for i := range 5000 {
			r.refs[fmt.Sprint("refs/heads/", i)] = strings.Repeat("0", 40)
		}
		r.weight.Store(weight(r.refs))
	}
	c.trim()
	var listed int64
	for _, r := range c.repos {
		listed += weight(r.refs)
	}
	if listed > limits.Listed || listed == 0 {
		t.Errorf("lists of %d bytes are remembered", listed)
	}
}

func TestAPrivateKeyThatNobodyCouldSignWithIsNotRead(t *testing.T) {
	_, err := ReadCredentials(source.Remote{Scheme: "ssh"}, "repo", map[string][]byte{"identity": make([]byte, 100<<10), "known_hosts": []byte("x")})
	if err == nil || !strings.Contains(err.Error(), "more than 16 KiB") {
		t.Errorf("it ends with %v", err)
	}
}
