package helm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/archive"
)

// Wanted is the chart that an archive is said to hold.
type Wanted struct {
	Name, Version string
	Revision      source.Revision
}

// maxMetadata bounds Chart.yaml, in bytes.
const maxMetadata = 1 << 20

// Unpack writes a chart's archive into a folder, if it holds the chart that is
// wanted, and says how many bytes that takes.
func Unpack(ctx context.Context, packed io.Reader, dir string, l archive.Limits, w Wanted) (source.Snapshot, int64, error) {
	folder, err := archive.Into(dir, l)
	if err != nil {
		return source.Snapshot{}, 0, err
	}
	if err := errors.Join(folder.TarGzip(ctx, packed), folder.Close()); err != nil {
		return source.Snapshot{}, 0, err
	}
	top, err := w.in(dir)
	return source.Snapshot{Dir: dir, Path: top, Revision: w.Revision}, folder.Size(), err
}

// in is the folder of the chart.
func (w Wanted) in(dir string) (string, error) {
	var top string
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("look into chart %s: %w", w.Name, err)
	}
	for _, e := range entries {
		info, err := os.Lstat(filepath.Join(dir, e.Name(), "Chart.yaml"))
		switch {
		case err != nil:
		case !info.Mode().IsRegular() || info.Size() > maxMetadata:
			return "", source.Refuse(source.SourceRefused, "Chart.yaml of chart %s is no file, or has more than %d MiB", w.Name, maxMetadata>>20)
		case top != "":
			return "", source.Refuse(source.SourceRefused, "the archive of chart %s holds two charts, in %s and %s", w.Name, top, e.Name())
		default:
			top = e.Name()
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, top, "Chart.yaml"))
	switch {
	case errors.Is(err, fs.ErrNotExist) || top == "":
		return "", source.Refuse(source.SourceRefused, "the archive of chart %s holds no folder with a Chart.yaml", w.Name)
	case err != nil:
		return "", fmt.Errorf("look into chart %s: %w", w.Name, err)
	}
	return top, w.is(data)
}

// is says whether a Chart.yaml is that of the chart.
func (w Wanted) is(data []byte) error {
	var chart struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	if err := yaml.Unmarshal(data, &chart); err != nil {
		return source.Refuse(source.SourceRefused, "Chart.yaml of chart %s cannot be read: %s", w.Name, source.Line(err.Error()))
	}
	if chart.Name != w.Name || strings.TrimPrefix(chart.Version, "v") != strings.TrimPrefix(w.Version, "v") {
		return source.Refuse(source.SourceRefused, "the archive of chart %s %s holds chart %s %s",
			w.Name, w.Version, cmp.Or(source.Line(chart.Name), "without a name"), source.Line(chart.Version))
	}
	return nil
}
