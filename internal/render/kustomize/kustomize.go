// Package kustomize builds kustomizations with the library of kustomize
// itself, from the tree alone.
//
// It decides what a kustomization may reach: files of the tree, under
// kustomize's own rule that files lie below the kustomization that names them.
// What would be fetched (remote bases and files, charts) and what would be run
// (plugins, functions) is refused by name. It leaves judging the objects to
// internal/content, and limits of time and memory to internal/render/worker.
package kustomize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/render/tree"
)

// Options are what is laid over the kustomization.
type Options struct {
	// Images replace names, tags or digests of images by their name.
	Images []Image
	// NamePrefix and NameSuffix are put around the names of all objects.
	NamePrefix, NameSuffix string
}

// Image says what becomes of an image.
type Image struct {
	// Name is without a tag: "ghcr.io/shop/web".
	Name string `json:"name"`
	// NewName, NewTag and Digest replace those parts; Digest wins over NewTag.
	NewName string `json:"newName,omitempty"`
	NewTag  string `json:"newTag,omitempty"`
	Digest  string `json:"digest,omitempty"`
}

// Result is what a kustomization builds.
type Result struct {
	Files []content.File
	// Inputs is the digest of the options and of every file that was read.
	Inputs string
}

// FileNames are the names that a kustomization goes by.
func FileNames() []string { return konfig.RecognizedKustomizationFileNames() }

// The tree is mounted beside the overlay that the options make: a kustomization
// may lie at the root of the tree, and none may lie above its base.
const (
	mount   = "/source"
	overlay = "/options"
)

// building is held while the library works: the schema that a kustomization
// may bring is a variable of the library's package.
var building sync.Mutex

// Build builds the kustomization in a folder of the tree.
func Build(files fs.FS, folder string, o Options) (Result, error) {
	disk := &mounted{tree: files, read: map[string][32]byte{}, made: map[string][]byte{}}
	start := path.Join(mount, folder)
	if o.any() {
		text, err := o.kustomization(folder)
		if err != nil {
			return Result{}, err
		}
		disk.made[path.Join(overlay, konfig.DefaultKustomizationFileName())] = text
		start = overlay
	}
	building.Lock()
	defer building.Unlock()
	defer forget(openapi.GetSchemaVersion())
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, start)
	if disk.refused != nil {
		return Result{}, disk.refused // the library may have gone on to guess another meaning
	}
	if err != nil {
		return Result{}, fmt.Errorf("build the kustomization in %s: %s", folder, inTree(err))
	}
	text, err := objects.AsYaml()
	if err != nil {
		return Result{}, fmt.Errorf("write the kustomization in %s out: %s", folder, inTree(err))
	}
	r := Result{Inputs: disk.digest(o)}
	if len(text) > 0 {
		r.Files = []content.File{{Name: path.Join(folder, "kustomization"), Data: text}}
	}
	return r, nil
}

// forget takes a schema that a kustomization brought out of the library: it
// would go on to decide how the next one's patches are merged, whosever that is.
func forget(before string) {
	if openapi.GetSchemaVersion() != before {
		openapi.ResetOpenAPI() // only then: to read its own again takes the library a while
	}
}

// inTree gives a message the names that its reader knows.
func inTree(err error) string {
	text := strings.ReplaceAll(err.Error(), mount+"/", "")
	return strings.ReplaceAll(text, "'"+mount+"'", "'.'")
}

func (o Options) any() bool { return len(o.Images) > 0 || o.NamePrefix != "" || o.NameSuffix != "" }

// kustomization is the options as an overlay.
func (o Options) kustomization(folder string) ([]byte, error) {
	k := types.Kustomization{
		Resources:  []string{path.Join("..", mount, folder)},
		NamePrefix: o.NamePrefix,
		NameSuffix: o.NameSuffix,
	}
	for _, i := range o.Images {
		if i.Name == "" {
			return nil, fmt.Errorf("images: each needs the name of the image to replace")
		}
		k.Images = append(k.Images, types.Image{Name: i.Name, NewName: i.NewName, NewTag: i.NewTag, Digest: i.Digest})
	}
	return json.Marshal(k)
}

func (m *mounted) digest(o Options) string {
	h := sha256.New()
	options, _ := json.Marshal(o) // strings only: it cannot fail
	fmt.Fprintf(h, "kustomize 1\n%s", options)
	for _, name := range slices.Sorted(maps.Keys(m.read)) {
		fmt.Fprintf(h, "\n%q %x", name, m.read[name])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

var errReadOnly = fmt.Errorf("the source is read only")

// explain is what the owner of the tree reads.
func explain(name string, err error) error {
	return tree.Explain(strings.TrimPrefix(name, mount+"/"), err)
}
