package release

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"atoll.dev/atoll/internal/imagebuild"
)

// Images says which images to build, from where and to where.
type Images struct {
	// Source is the module's root.
	Source string
	// Out is the folder to which Out/NAME, an OCI layout, and the bills of
	// materials Out/NAME.OS-ARCHITECTURE.cdx.json are written.
	Out       string
	Version   string
	Ldflags   string
	Names     []string
	Platforms []string
	// Push is the repository under which each image gets its name; empty pushes
	// nothing.
	Push string
	// Archive also writes Out/NAME.tar, for nodes without a registry.
	Archive bool
}

// Build makes the images and prints what they are known by. What compilers say
// goes to say.
func (o Images) Build(ctx context.Context, print, say io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	w := tabwriter.NewWriter(print, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "IMAGE\tPLATFORM\tDIGEST\tSIZE\tMATERIALS")
	for _, p := range programs {
		if !slices.Contains(o.Names, p.name) {
			continue
		}
		b, err := o.image(ctx, p, say)
		if err != nil {
			return err
		}
		if err := table(w, b); err != nil {
			return fmt.Errorf("describe image %s: %w", p.name, err)
		}
		if o.Push == "" {
			continue
		}
		ref, err := b.Push(ctx, o.Push+"/"+p.name)
		if err != nil {
			return err
		}
		fmt.Fprintf(say, "pushed %s\n", ref)
	}
	return w.Flush()
}

func (o Images) check() error {
	for _, name := range o.Names {
		if !slices.ContainsFunc(programs, func(p program) bool { return p.name == name }) {
			return fmt.Errorf("there is no image %q; there are atoll and atoll-agent", name)
		}
	}
	if len(o.Names) == 0 || len(o.Platforms) == 0 {
		return fmt.Errorf("name at least one image and one platform")
	}
	return nil
}

func (o Images) image(ctx context.Context, p program, say io.Writer) (*imagebuild.Build, error) {
	work, err := os.MkdirTemp("", "atoll-images-")
	if err != nil {
		return nil, fmt.Errorf("build image %s: %w", p.name, err)
	}
	defer os.RemoveAll(work)
	c := compiler{source: o.Source, ldflags: o.Ldflags, say: say}
	paths := []string{}
	for _, platform := range o.Platforms {
		path := filepath.Join(work, strings.ReplaceAll(platform, "/", "-"), p.name)
		if err := c.build(ctx, p.name, platform, path); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	b, err := imagebuild.New(imagebuild.Spec{Name: p.name, Version: o.Version, Description: p.description, Licenses: "Apache-2.0"}, paths...)
	if err != nil {
		return nil, err
	}
	return b, o.write(b)
}

// write goes through the layers while their programs still lie in the work
// folder; Push reads them from memory.
func (o Images) write(b *imagebuild.Build) error {
	dir := filepath.Join(o.Out, b.Spec.Name)
	if err := b.WriteLayout(dir); err != nil {
		return err
	}
	for _, p := range b.Platforms {
		file := fmt.Sprintf("%s.%s-%s.cdx.json", dir, p.Platform.OS, p.Platform.Architecture)
		if err := os.WriteFile(file, p.Materials, 0o644); err != nil {
			return fmt.Errorf("write the bill of materials of %s: %w", b.Spec.Name, err)
		}
	}
	if !o.Archive {
		return nil
	}
	return b.WriteTar(dir+".tar", b.Spec.Name+":"+b.Spec.Version)
}

func table(w io.Writer, b *imagebuild.Build) error {
	digest, err := b.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s:%s\tall\t%s\t\t\n", b.Spec.Name, b.Spec.Version, digest)
	for _, p := range b.Platforms {
		digest, err := p.Image.Digest()
		if err != nil {
			return err
		}
		size, err := p.Size()
		if err != nil {
			return err
		}
		materials, err := p.Attachment.Digest()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f MB\t%s\n", b.Spec.Name, p.Platform, digest, float64(size)/1e6, materials)
	}
	return nil
}
