// Package render turns a folder of a source into manifests: a Helm chart, a
// kustomization, or plain files.
//
// It decides which of the three a folder is and what plain files are read. It
// leaves charts to its package helm, kustomizations to kustomize, which
// clusters share an outcome to class, and what can be trusted to nobody:
// rendering what others wrote goes through its package worker, which has
// limits. Render itself has none.
//
// Plain files are all *.yaml, *.yml and *.json of the folder and those below,
// in lexical order. Files and folders whose names begin with a dot are left
// out, and so is everything else, such as a README.
package render

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/render/helm"
	"atoll.dev/atoll/internal/render/kustomize"
	"atoll.dev/atoll/internal/render/tree"
)

// Type is how a folder is rendered.
type Type string

// The types.
const (
	Helm      Type = "Helm"
	Kustomize Type = "Kustomize"
	Plain     Type = "Plain"
)

// Inputs are all that a render depends on beside the tree.
type Inputs struct {
	// Type is how to render; empty means as Detect says.
	Type Type
	// Path is the folder within the tree; empty is its root.
	Path string
	// Cluster answers what templates ask.
	Cluster class.Capabilities
	// Helm and Kustomize count for their own type, and are refused for others.
	Helm      helm.Options
	Kustomize kustomize.Options
}

// Output is what a folder renders to.
type Output struct {
	Type  Type
	Files []content.File
	// Chart, Version and AppVersion are a chart's.
	Chart, Version, AppVersion string
	// Hooks are objects of a chart that are not delivered.
	Hooks    []helm.Hook
	Warnings []string
	// Queries are the questions about the cluster, Inputs the digest of all
	// else that was read.
	Queries []class.Query
	Inputs  string
}

// Class names the clusters that share this output.
func (o Output) Class() string { return class.Key(o.Inputs, o.Queries) }

// Render renders a folder of the tree. Every error is for the owner of the
// tree to mend.
func Render(files fs.FS, in Inputs) (Output, error) {
	folder, err := tree.Clean(in.Path)
	if err != nil {
		return Output{}, err
	}
	kind := in.Type
	if kind == "" {
		if kind, err = Detect(files, folder); err != nil {
			return Output{}, err
		}
	}
	out, err := renderAs(kind, files, folder, in)
	if err != nil {
		return Output{}, err
	}
	out.Type = kind
	total := 0
	for _, f := range out.Files {
		total += len(f.Data)
	}
	if total > content.MaxTotal {
		return Output{}, fmt.Errorf("%s renders to %d bytes, more than %d: split the application", folder, total, content.MaxTotal)
	}
	return out, nil
}

func renderAs(kind Type, files fs.FS, folder string, in Inputs) (Output, error) {
	switch kind {
	case Helm:
		r, err := helm.Render(files, folder, in.Cluster, in.Helm)
		return Output{
			Files: r.Files, Chart: r.Name, Version: r.Version, AppVersion: r.AppVersion,
			Hooks: r.Hooks, Warnings: r.Warnings, Queries: r.Queries, Inputs: r.Inputs,
		}, err
	case Kustomize:
		r, err := kustomize.Build(files, folder, in.Kustomize)
		return Output{Files: r.Files, Inputs: r.Inputs}, err
	case Plain:
		return plain(files, folder, in.Type == "")
	}
	return Output{}, fmt.Errorf("render %s: no such type; give %s, %s or %s", kind, Helm, Kustomize, Plain)
}

// Detect tells what a folder is: a chart where there is a Chart.yaml, else a
// kustomization where there is one, else plain files.
func Detect(files fs.FS, folder string) (Type, error) {
	info, err := fs.Stat(files, folder)
	if err != nil {
		return "", tree.Explain(folder, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is a file: give the folder that it lies in", folder)
	}
	if holds, err := holdsAny(files, folder, "Chart.yaml"); err != nil || holds {
		return Helm, err
	}
	if holds, err := holdsAny(files, folder, kustomize.FileNames()...); err != nil || holds {
		return Kustomize, err
	}
	return Plain, nil
}

func holdsAny(files fs.FS, folder string, names ...string) (bool, error) {
	for _, name := range names {
		_, err := fs.Stat(files, path.Join(folder, name))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, tree.Explain(path.Join(folder, name), err)
		}
	}
	return false, nil
}
