// Package archive writes the files of archives that others made into folders of
// the hub's: regular files and nothing else, by names that stay within, and no
// more than its limits. What an archive is for is left to its callers.
package archive

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	"atoll.dev/atoll/internal/source"
)

// Limits bound what archives may unfold to.
type Limits struct {
	// Files and Bytes bound one folder, File one file of it, Depth its folders.
	Files       int
	Bytes, File int64
	Depth       int
}

// DefaultLimits are those of charts and of manifests.
var DefaultLimits = Limits{Files: 20_000, Bytes: 256 << 20, File: 16 << 20, Depth: 64}

// Folder is one that is being filled.
type Folder struct {
	root   *os.Root // whatever a name may be, nothing is written beside it
	limits Limits
	files  int
	bytes  int64
}

// Into begins to fill a folder that is there and empty.
func Into(dir string, l Limits) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return &Folder{root: root, limits: l}, nil
}

// Close ends it.
func (f *Folder) Close() error { return f.root.Close() }

// block is what a file takes on the disk beside its bytes, about.
const block = 4 << 10

// Size is how many bytes it takes on the disk, about.
func (f *Folder) Size() int64 { return f.bytes + int64(f.files)*block }

// TarGzip unpacks a compressed archive.
func (f *Folder) TarGzip(ctx context.Context, in io.Reader) error {
	unzipped, err := gzip.NewReader(in)
	if err != nil {
		return unreadable(err)
	}
	return f.Tar(ctx, unzipped)
}

// maxHeaders is what an archive takes for a file beside its bytes, at most on
// average, in bytes.
const maxHeaders = 4 << 10

// Tar unpacks an archive.
func (f *Folder) Tar(ctx context.Context, in io.Reader) error {
	// What is skipped is unfolded too.
	bounded := &io.LimitedReader{R: in, N: f.limits.Bytes + int64(f.limits.Files)*maxHeaders}
	files := tar.NewReader(bounded)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && bounded.N <= 0:
			return f.tooMuch()
		case err != nil:
			return unreadable(err)
		}
		if err := f.entry(header, files); err != nil {
			return err
		}
	}
}

func unreadable(err error) error {
	return source.Refuse(source.SourceRefused, "the archive cannot be read: %w", err)
}

func (f *Folder) tooMuch() error {
	return source.Refuse(source.TooLarge, "the archive has more than %d files or %d MiB", f.limits.Files, f.limits.Bytes>>20)
}

func (f *Folder) entry(header *tar.Header, in io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := f.name(header.Name)
	if err != nil {
		return err
	}
	if f.files++; f.files > f.limits.Files {
		return f.tooMuch()
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return f.mkdir(name)
	case tar.TypeReg:
		return f.write(name, in, header.Size)
	case tar.TypeSymlink, tar.TypeLink:
		return source.Refuse(source.SourceRefused, "%s is a link, which is not followed; pack the file itself", name)
	}
	return source.Refuse(source.SourceRefused, "%s is neither a file nor a folder", name)
}

// name is where an entry is written to.
func (f *Folder) name(given string) (string, error) {
	if strings.HasPrefix(given, "/") {
		return "", source.Refuse(source.SourceRefused, "%q is an absolute path, and none within the archive", source.Line(given))
	}
	var parts []string
	for part := range strings.SplitSeq(given, "/") {
		switch {
		case part == "" || part == ".":
		case !source.PlainName(part):
			return "", source.Refuse(source.SourceRefused, "%q leads out of the archive, or is no name that is safe", source.Line(given))
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) > f.limits.Depth {
		return "", source.Refuse(source.TooLarge, "%s lies more than %d folders deep", source.Line(given), f.limits.Depth)
	}
	return path.Join(append([]string{"."}, parts...)...), nil
}

func (f *Folder) mkdir(name string) error {
	err := f.root.MkdirAll(name, 0o700)
	if errors.Is(err, os.ErrExist) || errors.Is(err, syscall.ENOTDIR) {
		return source.Refuse(source.SourceRefused, "%s is a file and a folder", name)
	}
	return err
}

// File writes one file by a name that somebody gave it.
func (f *Folder) File(given string, in io.Reader, size int64) error {
	name, err := f.name(given)
	if err != nil {
		return err
	}
	if f.files++; f.files > f.limits.Files {
		return f.tooMuch()
	}
	return f.write(name, in, size)
}

func (f *Folder) write(name string, in io.Reader, size int64) error {
	switch {
	case size < 0: // what others say of it, which would make room for a bomb
		return source.Refuse(source.SourceRefused, "%s is said to have %d bytes", name, size)
	case size > f.limits.File:
		return source.Refuse(source.TooLarge, "%s has %d bytes, more than %d MiB", name, size, f.limits.File>>20)
	}
	if f.bytes += size; f.bytes > f.limits.Bytes {
		return f.tooMuch()
	}
	if err := f.mkdir(path.Dir(name)); err != nil {
		return err
	}
	out, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) || name == "." {
		return source.Refuse(source.SourceRefused, "%s is in it twice", name)
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	read := &noted{in: in}
	_, err = io.CopyN(out, read, size)
	if err = errors.Join(err, out.Close()); err != nil && read.err != nil {
		return unreadable(read.err)
	}
	return err
}

// noted tells an archive that cannot be read from a disk that cannot be written.
type noted struct {
	in  io.Reader
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	count, err := n.in.Read(p)
	if errors.Is(err, io.EOF) {
		n.err = io.ErrUnexpectedEOF // unless nothing more was wanted
	} else if err != nil {
		n.err = err
	}
	return count, err
}

// Receive keeps what comes in a file of dir, if it is what a digest names and at
// most so many bytes. The caller discards it.
func Receive(dir string, in io.Reader, digest string, limit int64) (*os.File, error) {
	out, err := os.CreateTemp(dir, "receive-")
	if err != nil {
		return nil, fmt.Errorf("keep what comes: %w", err)
	}
	hash, read := sha256.New(), &noted{in: in}
	count, err := io.Copy(io.MultiWriter(out, hash), io.LimitReader(read, limit+1))
	got := "sha256:" + hex.EncodeToString(hash.Sum(nil))
	switch {
	case err != nil && read.err != nil:
		err = &Broken{err}
	case err != nil:
		err = fmt.Errorf("keep what comes: %w", err)
	case count > limit:
		err = source.Refuse(source.TooLarge, "the archive has more than %d MiB", limit>>20)
	case got != digest:
		// Not for ever: what hands it out may be mended.
		err = source.Fail(source.SourceRefused, "what comes has the digest %s, and not %s as was said before", got, digest)
	default:
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		Discard(out)
		return nil, err
	}
	return out, nil
}

// Broken is a way that broke off.
type Broken struct{ err error }

// Error says why.
func (b *Broken) Error() string { return b.err.Error() }

// Unwrap gives the cause.
func (b *Broken) Unwrap() error { return b.err }

// Discard ends and removes a file.
func Discard(f *os.File) {
	_ = f.Close()           // nothing of it is wanted
	_ = os.Remove(f.Name()) // what stays goes at the next start
}
