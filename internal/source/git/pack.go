package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

// receive writes a pack to a file in dir and looks through it: whoever reads it
// afterwards believes the sizes that it states.
func receive(ctx context.Context, dir string, pack io.Reader, r source.Remote, l Limits) (*os.File, error) {
	f, err := os.CreateTemp(dir, "pack")
	if err != nil {
		return nil, fmt.Errorf("write what %s sends: %w", r, err)
	}
	if err := fill(ctx, f, pack, r, l); err != nil {
		discard(f)
		return nil, err
	}
	return f, nil
}

// discard leaves at worst a file that the next start removes.
func discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

func fill(ctx context.Context, f *os.File, pack io.Reader, r source.Remote, l Limits) error {
	n, err := io.Copy(f, io.LimitReader(pack, l.Pack+1))
	switch {
	case ctx.Err() != nil:
		return web.Unreached(r, ctx.Err())
	case n > l.Pack:
		return source.Refuse(source.TooLarge, "%s sends more than %d MiB for one commit; keep manifests in a smaller repository", r, l.Pack>>20)
	case err != nil:
		return source.Fail(source.Unreachable, "%s broke off the fetch: %s", r, word(err))
	}
	if err := survey(f, r, l); err != nil {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// survey refuses what would unfold to more than is allowed.
func survey(f *os.File, r source.Remote, l Limits) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	scanner := packfile.NewScanner(f)
	_, count, err := scanner.Header()
	if err != nil {
		return broken(r, err)
	}
	if count > l.Objects {
		return source.Refuse(source.TooLarge, "%s has %d objects in one commit, more than %d; keep manifests in a smaller repository", r, count, l.Objects)
	}
	var total int64
	all := chains{beneath: map[int64]chain{}}
	for range count {
		size, err := unfolded(scanner, &all, l.Object)
		switch {
		case errors.Is(err, errHuge):
			return source.Refuse(source.TooLarge, "%s holds a file of more than %d MiB; keep manifests in a repository without it", r, l.Object>>20)
		case err != nil:
			return broken(r, err)
		}
		if total += size; total > l.Inflated {
			return source.Refuse(source.TooLarge, "%s unfolds to more than %d MiB; keep manifests in a smaller repository", r, l.Inflated>>20)
		}
		if all.work > maxWork*l.Inflated {
			return source.Refuse(source.TooLarge, "%s takes too long to unfold, for its objects are differences to differences; keep manifests in a smaller repository", r)
		}
	}
	return nil
}

func broken(r source.Remote, err error) error {
	return source.Fail(source.Unreachable, "what %s sends is damaged: %w", r, err)
}

var errHuge = errors.New("larger than an object may be")

// chains are what lies beneath the objects of a pack, by offset: whoever
// resolves a difference resolves all beneath it, unless he still has it.
type chains struct {
	beneath map[int64]chain
	work    int64 // bytes that are made if nothing is kept
}

// chain is an object with all beneath it.
type chain struct {
	differences int
	bytes       int64
}

const (
	// maxChain is git's own bound.
	maxChain = 4095
	// maxWork is how often over all objects may be made.
	maxWork = 16
)

func (c *chains) add(h *packfile.ObjectHeader) error {
	switch h.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		c.beneath[h.Offset] = chain{bytes: h.Length}
		return nil
	case plumbing.OFSDeltaObject:
		base, ok := c.beneath[h.OffsetReference]
		if !ok {
			return errors.New("a difference is to nothing")
		}
		if base.differences >= maxChain {
			return errors.New("differences to differences are too deep")
		}
		base.differences++
		c.beneath[h.Offset] = base
		return nil
	}
	// Differences to objects that are named by ID are for packs which lack some,
	// and no such pack was asked for.
	return fmt.Errorf("it holds an object of type %s", h.Type)
}

// unfolded is the size of the next object, and of what a difference leads to.
func unfolded(scanner *packfile.Scanner, all *chains, limit int64) (int64, error) {
	h, err := scanner.NextObjectHeader()
	if err != nil {
		return 0, err
	}
	if h.Length < 0 || h.Length > limit {
		return 0, errHuge
	}
	if err := all.add(h); err != nil {
		return 0, err
	}
	w := &measure{left: h.Length}
	if _, _, err := scanner.NextObject(w); err != nil {
		return 0, err
	}
	if w.left != 0 {
		return 0, errors.New("an object is smaller than it says")
	}
	if h.Type != plumbing.OFSDeltaObject {
		return h.Length, nil
	}
	size, err := target(w.head)
	if err != nil {
		return 0, err
	}
	if size > limit {
		return 0, errHuge
	}
	c := all.beneath[h.Offset]
	c.bytes += size
	all.beneath[h.Offset] = c
	all.work += c.bytes
	return size, nil
}

// headSize is enough for two sizes of a difference.
const headSize = 20

// measure takes as many bytes as were stated, and keeps the first.
type measure struct {
	left int64
	head []byte
}

func (m *measure) Write(p []byte) (int, error) {
	if m.left -= int64(len(p)); m.left < 0 {
		return 0, errors.New("an object is larger than it says")
	}
	if room := headSize - len(m.head); room > 0 {
		m.head = append(m.head, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// target is the size that a difference leads to: its second number, after the
// size of what it starts from, both in base 128 with the low digits first.
func target(delta []byte) (int64, error) {
	var size int64
	for range 2 {
		size = 0
		for shift := 0; ; shift += 7 {
			if len(delta) == 0 || shift > 56 {
				return 0, errors.New("a difference has no size")
			}
			digit := delta[0]
			delta = delta[1:]
			size |= int64(digit&0x7f) << shift
			if digit&0x80 == 0 {
				break
			}
		}
	}
	return size, nil
}
