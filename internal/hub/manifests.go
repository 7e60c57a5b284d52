package hub

import (
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/source"
)

// manifests are the YAML and JSON files of a fetched folder and of those below,
// by name. What begins with a dot is left out.
func manifests(_ context.Context, _ *v1alpha1.Application, s source.Snapshot) ([]content.File, error) {
	var files []content.File
	var total int
	root := os.DirFS(filepath.Join(s.Dir, s.Path))
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case slices.Contains([]string{"Chart.yaml", "kustomization.yaml", "kustomization.yml", "Kustomization"}, d.Name()):
			return source.Refuse(source.SourceRefused, "%s needs rendering, and only plain manifests are delivered; give a folder of these", path.Join(s.Path, name))
		case !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)):
			return nil
		}
		data, err := fs.ReadFile(root, name)
		if total += len(data); total > content.MaxTotal {
			return source.Refuse(source.TooLarge, "the manifests of %s have more than %d MiB; split the application", s.Path, content.MaxTotal>>20)
		}
		files = append(files, content.File{Name: path.Join(s.Path, name), Data: data})
		return err
	})
	return files, err
}
