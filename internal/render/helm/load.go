package helm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/ignore"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/render/tree"
)

type file = tree.File

// read gives the files of a chart, less those that its .helmignore names.
func read(files fs.FS, folder string) ([]file, error) {
	rules := ignore.Empty()
	switch text, err := fs.ReadFile(files, path.Join(folder, ignore.HelmIgnore)); {
	case err == nil:
		if rules, err = ignore.Parse(bytes.NewReader(text)); err != nil {
			return nil, fmt.Errorf("read %s: %w", path.Join(folder, ignore.HelmIgnore), err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, tree.Explain(path.Join(folder, ignore.HelmIgnore), err)
	}
	rules.AddDefaults()
	return tree.Files(files, folder, func(name string, info fs.FileInfo) bool {
		return name == ".git" || rules.Ignore(name, info)
	})
}

// load makes a chart of its files.
func load(folder string, files []file) (*chart.Chart, error) {
	buffered := make([]*archive.BufferedFile, 0, len(files))
	for _, f := range files {
		data := bytes.TrimPrefix(f.Data, []byte("\xef\xbb\xbf"))
		buffered = append(buffered, &archive.BufferedFile{Name: f.Name, Data: data})
	}
	c, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, fmt.Errorf("load the chart in %s: %w", folder, err)
	}
	return c, nil
}

// checkDependencies refuses a chart that lacks what it needs, at any depth.
func checkDependencies(c *chart.Chart) error {
	var missing []string
	for _, need := range c.Metadata.Dependencies {
		has := slices.ContainsFunc(c.Dependencies(), func(d *chart.Chart) bool { return d.Name() == need.Name })
		if !has {
			missing = append(missing, need.Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("its dependencies %s are in Chart.yaml and not in charts/: run `helm dependency build` and commit charts/, or take the chart from a repository, where it has them",
			strings.Join(missing, ", "))
	}
	for _, d := range c.Dependencies() {
		if err := checkDependencies(d); err != nil {
			return fmt.Errorf("dependency %s: %w", d.Name(), err)
		}
	}
	return nil
}

// gatherValues merges the files and the inline values, in that order.
func gatherValues(files fs.FS, folder string, o Options) (common.Values, error) {
	values := common.Values{}
	for _, name := range o.ValuesFiles {
		full, err := tree.Clean(path.Join(folder, name))
		if err != nil || path.IsAbs(name) {
			return nil, fmt.Errorf("values file %q leads out of the source: give a path relative to %s", name, folder)
		}
		data, err := fs.ReadFile(files, full)
		if err != nil {
			return nil, fmt.Errorf("values file: %w", tree.Explain(full, err))
		}
		if values, err = merge(values, data); err != nil {
			return nil, fmt.Errorf("values file %s: %w", full, err)
		}
	}
	values, err := merge(values, o.Values)
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	return values, nil
}

func merge(values common.Values, over []byte) (common.Values, error) {
	more := map[string]any{}
	if err := yaml.Unmarshal(over, &more); err != nil {
		return nil, fmt.Errorf("is not a map in YAML: %w", err)
	}
	return loader.MergeMaps(values, more), nil
}
