package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/render/kustomize"
	"atoll.dev/atoll/internal/render/tree"
)

// plain reads manifests as they are. Unless plain files were asked for, a chart
// or kustomization further down is refused: its files are not what it delivers.
func plain(files fs.FS, folder string, detected bool) (Output, error) {
	var inside string
	read, err := tree.Files(files, folder, func(name string, info fs.FileInfo) bool {
		base := path.Base(name)
		if strings.HasPrefix(base, ".") {
			return true
		}
		if info.IsDir() {
			return false
		}
		if isRenderable(base) {
			inside = name
			return true
		}
		return !isManifest(base)
	})
	if err != nil {
		return Output{}, err
	}
	if detected && inside != "" {
		return Output{}, fmt.Errorf("%s is a folder of plain files, and %s further down is not: make %s an application of its own, or list both in a kustomization",
			folder, path.Join(folder, inside), path.Join(folder, path.Dir(inside)))
	}
	h := sha256.New()
	fmt.Fprint(h, "plain 1")
	var out Output
	for _, f := range read {
		fmt.Fprintf(h, "\n%q %d ", f.Name, len(f.Data))
		h.Write(f.Data)
		out.Files = append(out.Files, content.File{Name: path.Join(folder, f.Name), Data: f.Data})
	}
	out.Inputs = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return out, nil
}

func isRenderable(base string) bool {
	return base == "Chart.yaml" || slices.Contains(kustomize.FileNames(), base)
}

func isManifest(base string) bool {
	switch strings.ToLower(path.Ext(base)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
