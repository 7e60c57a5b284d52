package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/fleet"
)

// readFiles reads each path: a file, a folder with everything below it, or "-"
// for standard input. Names of files in a folder are relative to it.
func readFiles(in io.Reader, paths []string) ([]fleet.File, error) {
	var files []fleet.File
	for _, path := range paths {
		found, err := readPath(in, path)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	total := 0
	for _, f := range files {
		total += len(f.Data)
	}
	if total > fleet.MaxUpload {
		return nil, wrong("the files hold %s; at most %s can be given at once", size(int64(total)), size(fleet.MaxUpload))
	}
	return files, nil
}

func readPath(in io.Reader, path string) ([]fleet.File, error) {
	if path == "-" {
		data, err := io.ReadAll(io.LimitReader(in, fleet.MaxUpload+1))
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return []fleet.File{{Name: "stdin", Data: data}}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, wrong("-f %s: %v", path, cause(err))
	}
	if !info.IsDir() {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, wrong("-f %s: %v", path, cause(err))
		}
		return []fleet.File{{Name: filepath.Base(path), Data: data}}, nil
	}
	files, err := readFolder(path)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, wrong("-f %s: the folder has no .yaml, .yml or .json files", path)
	}
	return files, nil
}

// readContent reads what is to be delivered as an application. A pipe that broke
// gives no object, and that never means an application without any.
func readContent(in io.Reader, paths []string, app string) ([]fleet.File, error) {
	files, err := readFiles(in, paths)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(files, holdsSomething) {
		return files, nil
	}
	return nil, wrong("-f %s holds no object, so nothing is deployed (atoll delete app/%s takes an application away)", strings.Join(paths, " -f "), app)
}

// holdsSomething tells that a file has more than comments and empty lists. What
// cannot be read is something: the hub says what is wrong with it.
func holdsSomething(f fleet.File) bool {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(f.Data)))
	for {
		data, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return false
		}
		var content any
		if err != nil || yaml.Unmarshal(data, &content) != nil {
			return true
		}
		object, isMap := content.(map[string]any)
		items, isList := object["items"].([]any)
		if content != nil && !(isMap && isList && len(items) == 0) {
			return true
		}
	}
}

var manifestEndings = []string{".yaml", ".yml", ".json"}

// readFolder skips hidden files and folders, which editors and git keep.
func readFolder(dir string) ([]fleet.File, error) {
	var files []fleet.File
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return wrong("-f %s: %v", path, cause(err))
		}
		hidden := path != dir && strings.HasPrefix(d.Name(), ".")
		switch {
		case d.IsDir() && hidden:
			return filepath.SkipDir
		case d.IsDir(), hidden, !slices.Contains(manifestEndings, strings.ToLower(filepath.Ext(path))):
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return wrong("-f %s: %v", path, cause(err))
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return fmt.Errorf("name %s: %w", path, err)
		}
		files = append(files, fleet.File{Name: filepath.ToSlash(name), Data: data})
		return nil
	})
	return files, err
}

// manifest is one object to apply and where it stood.
type manifest struct {
	object *unstructured.Unstructured
	kind   kind
	origin string
}

// parseManifests reads objects of atoll.dev; every mistake is told, not just
// the first.
func parseManifests(files []fleet.File) ([]manifest, error) {
	var all []manifest
	var mistakes []error
	for _, f := range files {
		reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(f.Data)))
		for number := 1; ; number++ {
			data, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			origin := fmt.Sprintf("%s, document %d", f.Name, number)
			if err != nil {
				mistakes = append(mistakes, wrong("%s: %v", origin, err))
				break
			}
			m, err := parseDocument(data, origin)
			if err != nil {
				mistakes = append(mistakes, err)
				continue
			}
			all = append(all, m...)
		}
	}
	slices.SortStableFunc(all, func(a, b manifest) int { return kindRank(a.kind) - kindRank(b.kind) })
	return all, errors.Join(mistakes...)
}

func kindRank(k kind) int {
	return slices.IndexFunc(kinds, func(o kind) bool { return o.name == k.name })
}

func parseDocument(data []byte, origin string) ([]manifest, error) {
	content := map[string]any{}
	if err := yaml.UnmarshalStrict(data, &content); err != nil {
		return nil, wrong("%s: %v", origin, err)
	}
	if len(content) == 0 {
		return nil, nil // comments only
	}
	object := &unstructured.Unstructured{Object: content}
	if object.IsList() {
		return parseList(object, origin)
	}
	group := object.GroupVersionKind().Group
	switch {
	case object.GetAPIVersion() == "" || object.GetKind() == "":
		return nil, wrong("%s: apiVersion and kind are missing", origin)
	case group != v1alpha1.GroupVersion.Group:
		return nil, wrong("%s: %s %s is not of atoll.dev: deliver workloads with `atoll deploy`, change the hub's own objects with kubectl", origin, object.GetKind(), object.GetName())
	case object.GetAPIVersion() != v1alpha1.GroupVersion.String():
		return nil, wrong("%s: there is no %s; the version is %s", origin, object.GetAPIVersion(), v1alpha1.GroupVersion)
	case object.GetName() == "":
		return nil, wrong("%s: %s has no metadata.name", origin, object.GetKind())
	}
	for _, k := range kinds {
		if k.name == object.GetKind() {
			return []manifest{{object: object, kind: k, origin: origin}}, nil
		}
	}
	var known []string
	for _, k := range kinds {
		known = append(known, k.name)
	}
	return nil, wrong("%s: atoll.dev has no kind %s%s", origin, object.GetKind(), didYouMean(object.GetKind(), known))
}

func parseList(l *unstructured.Unstructured, origin string) ([]manifest, error) {
	var all []manifest
	var mistakes []error
	number := 0
	err := l.EachListItem(func(item runtime.Object) error {
		number++
		data, err := yaml.Marshal(item)
		if err != nil {
			return err
		}
		m, err := parseDocument(data, fmt.Sprintf("%s, item %d", origin, number))
		all, mistakes = append(all, m...), append(mistakes, err)
		return nil
	})
	return all, errors.Join(append(mistakes, err)...)
}
