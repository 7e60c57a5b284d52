package importer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxFile bounds a file that a generator reads, in bytes, and maxWalked the
// files and folders that it looks at.
const (
	maxFile   = 1 << 20
	maxWalked = 200000
)

// git looks into a checkout for folders or files.
func (g *generation) git(f *fields, with map[string]any) ([]set, error) {
	url, prefix := f.text("repoURL"), f.text("pathParamPrefix")
	values, _ := f.take("values").(map[string]any)
	f.skip("revision", "requeueAfterSeconds")
	f.lose("template", "a template of a generator's own is not carried over")
	folders, files := patternsOf(f, "directories"), patternsOf(f, "files")
	f.done()
	repository, ok := g.a.repository(url)
	if !ok {
		return nil, fmt.Errorf("%s looks into %s: give a checkout of it, --repo %s=FOLDER", f.at, url, url)
	}
	var found []set
	err := walk(repository, func(p string, folder bool) error {
		params := map[string]any{}
		all := []any{map[string]any{}}
		switch {
		case folder && folders.match(p):
			params["path"] = pathParams(p, "")
		case !folder && files.match(p):
			params["path"] = pathParams(path.Dir(p), path.Base(p))
			var err error
			if all, err = fileParams(repository, p); err != nil {
				return err
			}
		default:
			return nil
		}
		if prefix != "" {
			params = map[string]any{prefix: params}
		}
		for _, content := range all {
			own, _ := content.(map[string]any)
			own = merged(own, params)
			if len(values) > 0 {
				filled, err := g.lang.fill(values, merged(with, own))
				if err != nil {
					return err
				}
				own["values"] = filled
			}
			if found = append(found, set{params: own}); len(found) > maxSets {
				return errTooMany
			}
		}
		return nil
	})
	return found, err
}

// walk goes through all but hidden names, in their order.
func walk(repository fs.FS, visit func(p string, folder bool) error) error {
	walked := 0
	return fs.WalkDir(repository, ".", func(p string, d fs.DirEntry, err error) error {
		if walked++; walked > maxWalked {
			return fmt.Errorf("the checkout holds more than %d files", maxWalked)
		}
		switch {
		case err != nil:
			return err
		case p == ".":
			return nil
		case strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.IsDir() && !d.Type().IsRegular():
			return nil
		}
		return visit(p, d.IsDir())
	})
}

func pathParams(dir, file string) map[string]any {
	segments := []any{}
	for _, part := range strings.Split(dir, "/") {
		segments = append(segments, part)
	}
	params := map[string]any{"path": dir, "basename": path.Base(dir), "basenameNormalized": normalize(path.Base(dir)), "segments": segments}
	if file != "" {
		params["filename"], params["filenameNormalized"] = file, normalize(file)
	}
	return params
}

// fileParams are what a file says: one map, or a list of them.
func fileParams(repository fs.FS, p string) ([]any, error) {
	info, err := fs.Stat(repository, p)
	if err == nil && info.Size() > maxFile {
		err = errors.New("is larger than 1 MiB")
	}
	var data []byte
	if err == nil {
		data, err = fs.ReadFile(repository, p)
	}
	var content any
	if err == nil {
		err = yaml.Unmarshal(data, &content)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	switch content := content.(type) {
	case map[string]any:
		return []any{content}, nil
	case []any:
		return content, nil
	}
	return nil, fmt.Errorf("read %s: it holds neither a map nor a list of maps", p)
}

type patterns struct{ in, out []string }

func patternsOf(f *fields, key string) patterns {
	p := patterns{}
	for _, item := range f.each(key) {
		pattern := strings.Trim(item.text("path"), "/")
		if item.flag("exclude") {
			p.out = append(p.out, pattern)
		} else {
			p.in = append(p.in, pattern)
		}
		item.done()
	}
	return p
}

func (p patterns) match(name string) bool {
	parts := strings.Split(name, "/")
	fits := func(pattern string) bool { return glob(strings.Split(pattern, "/"), parts) }
	return slices.ContainsFunc(p.in, fits) && !slices.ContainsFunc(p.out, fits)
}

// glob matches part by part; ** stands for any number of them. Of several **
// in a row one is enough, so that none multiplies the ways to try.
func glob(pattern, parts []string) bool {
	pattern = slices.CompactFunc(slices.Clone(pattern), func(a, b string) bool { return a == "**" && b == "**" })
	// fits[j] tells whether the pattern so far takes the first j parts.
	fits := make([]bool, len(parts)+1)
	fits[0] = true
	for _, one := range pattern {
		next := make([]bool, len(parts)+1)
		for j := range next {
			switch {
			case one == "**":
				next[j] = fits[j] || j > 0 && next[j-1]
			case j > 0 && fits[j-1]:
				ok, err := path.Match(one, parts[j-1])
				next[j] = ok && err == nil
			}
		}
		fits = next
	}
	return fits[len(parts)]
}
