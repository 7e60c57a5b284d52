package helm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/source"
)

// index is what is kept of an index.yaml.
type index struct {
	// tag is the server's name for this state of it.
	tag    string
	charts map[string][]entry
	weight int64 // bytes
	count  int
}

// entry is one version of a chart.
type entry struct {
	version string
	digest  string // "sha256:" and 64 hex digits, or ""
	url     string // as written, so that it may be relative
	created time.Time
}

// document is the part of an index.yaml that is read.
type document struct {
	Entries map[string][]*release `json:"entries"`
}

// release is one version of a chart, as it is written.
type release struct {
	Version string   `json:"version"`
	Digest  string   `json:"digest"`
	URLs    []string `json:"urls"`
	Created string   `json:"created"`
}

// maxYAML is how many bytes of YAML are unfolded at a time: that takes some
// thirty times as much.
const maxYAML = 2 << 20

// parseIndex reads an index of at most so many versions.
func parseIndex(data []byte, versions int) (index, error) {
	x := index{charts: map[string][]entry{}}
	// Some repositories write JSON, since that takes a fraction of the time.
	if text := bytes.TrimLeft(data, " \t\r\n"); bytes.HasPrefix(text, []byte("{")) {
		err := x.addJSON(text, versions)
		return x, err
	}
	parts := pieces(data)
	if parts == nil {
		parts = [][]byte{data}
	}
	if len(parts) > versions { // each takes its time, and others wait for it
		return index{}, fmt.Errorf("index.yaml lists more than %d charts", versions)
	}
	for _, part := range parts {
		if len(part) > maxYAML {
			return index{}, fmt.Errorf("index.yaml has more than %d MiB of one chart, or in another form than helm repo index gives it; write it with: helm repo index --json", maxYAML>>20)
		}
		if err := x.add(part, versions); err != nil {
			return index{}, err
		}
	}
	return x, nil
}

// add takes in what a part of an index lists.
func (x *index) add(data []byte, versions int) error {
	var d document
	if err := yaml.Unmarshal(data, &d); err != nil {
		return fmt.Errorf("index.yaml cannot be read: %s", source.Line(err.Error()))
	}
	if d.Entries == nil {
		return errors.New("index.yaml has no entries")
	}
	for name, all := range d.Entries {
		for _, r := range all {
			if err := x.take(name, r, versions); err != nil {
				return err
			}
		}
	}
	return nil
}

// take keeps one version, unless nothing can be fetched by it.
func (x *index) take(name string, r *release, versions int) error {
	if x.count++; x.count > versions { // of what is passed over, too: it takes its time
		return fmt.Errorf("index.yaml lists more than %d versions", versions)
	}
	if r == nil || r.Version == "" || len(r.URLs) == 0 || r.URLs[0] == "" {
		return nil
	}
	created, _ := time.Parse(time.RFC3339Nano, r.Created) // a claim, and for people only
	// Clones: the rest of the document is not to stay for them.
	one := entry{version: strings.Clone(r.Version), digest: digest(r.Digest), url: strings.Clone(r.URLs[0]), created: created}
	x.charts[strings.Clone(name)] = append(x.charts[name], one)
	x.weight += int64(len(name) + len(one.version) + len(one.digest) + len(one.url) + 100)
	return nil
}

// digest is written with and without its scheme.
func digest(s string) string {
	full := "sha256:" + strings.ToLower(strings.TrimPrefix(s, "sha256:"))
	if !source.IsDigest(full) {
		return ""
	}
	return full
}
