package imagebuild

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// WriteLayout writes an OCI layout with the images and their bills of
// materials, in place of what was in the folder.
func (b *Build) WriteLayout(dir string) error {
	path, err := b.layout(dir, map[string]string{"org.opencontainers.image.ref.name": b.Spec.Version})
	if err != nil {
		return fmt.Errorf("write image %s to %s: %w", b.Spec.Name, dir, err)
	}
	for _, p := range b.Platforms {
		if err := path.AppendImage(p.Attachment); err != nil {
			return fmt.Errorf("write the bill of materials of %s to %s: %w", b.Spec.Name, dir, err)
		}
	}
	return nil
}

func (b *Build) layout(dir string, annotations map[string]string) (layout.Path, error) {
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", err
	}
	return path, path.AppendIndex(b.Index, layout.WithAnnotations(annotations))
}

// WriteTar writes an OCI archive, which container runtimes import by its
// reference: "ctr --namespace k8s.io images import FILE". It is the same
// digest there as in a registry.
func (b *Build) WriteTar(file, ref string) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("write image %s to %s: %w", b.Spec.Name, file, err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(file), ".layout-")
	if err != nil {
		return fmt.Errorf("write image %s to %s: %w", b.Spec.Name, file, err)
	}
	defer os.RemoveAll(dir)
	_, err = b.layout(dir, map[string]string{
		"io.containerd.image.name":          runtimeName(tag),
		"org.opencontainers.image.ref.name": tag.TagStr(),
	})
	if err == nil {
		err = archive(file, dir)
	}
	if err != nil {
		return fmt.Errorf("write image %s to %s: %w", b.Spec.Name, file, err)
	}
	return nil
}

// runtimeName is a reference as kubelets ask for it: the short form of the
// default registry's name, where the library has the long one.
func runtimeName(tag name.Tag) string {
	if rest, ok := strings.CutPrefix(tag.Name(), name.DefaultRegistry+"/"); ok {
		return "docker.io/" + rest
	}
	return tag.Name()
}

// archive is a folder as a tar file, in the order of names and without times
// or owners.
func archive(file, dir string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return add(out, path, filepath.ToSlash(rel))
	})
	if err != nil {
		return err
	}
	return out.Close()
}

func add(out *tar.Writer, path, as string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: as, Mode: 0o644, Size: info.Size(), Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}

// Push sends the images, then their bills of materials, to a repository; the
// tag is the version's. It returns the reference by digest. Credentials are
// those that container tools keep for the user.
func (b *Build) Push(ctx context.Context, repository string, options ...remote.Option) (name.Digest, error) {
	options = append(options, remote.WithContext(ctx))
	tag, err := name.NewTag(repository + ":" + b.Spec.Version)
	if err != nil {
		return name.Digest{}, fmt.Errorf("push image %s: %w", b.Spec.Name, err)
	}
	if err := remote.WriteIndex(tag, b.Index, options...); err != nil {
		return name.Digest{}, fmt.Errorf("push image %s to %s: %w", b.Spec.Name, tag, err)
	}
	for _, p := range b.Platforms {
		if err := pushAttachment(tag.Context(), p.Attachment, options); err != nil {
			return name.Digest{}, fmt.Errorf("push the bill of materials of %s for %s: %w", tag, p.Platform, err)
		}
	}
	digest, err := b.Digest()
	if err != nil {
		return name.Digest{}, err
	}
	return tag.Context().Digest(digest.String()), nil
}

func pushAttachment(repository name.Repository, attachment v1.Image, options []remote.Option) error {
	digest, err := attachment.Digest()
	if err != nil {
		return err
	}
	return remote.Write(repository.Digest(digest.String()), attachment, options...)
}
