package helm

import (
	"bytes"
	"encoding/json"
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
	Entries map[string][]*struct {
		Version string   `json:"version"`
		Digest  string   `json:"digest"`
		URLs    []string `json:"urls"`
		Created string   `json:"created"`
	} `json:"entries"`
}

// parseIndex reads an index of at most so many versions.
func parseIndex(data []byte, versions int) (index, error) {
	var d document
	var err error
	// Some repositories write JSON, since that takes a fraction of the time.
	if text := bytes.TrimLeft(data, " \t\r\n"); bytes.HasPrefix(text, []byte("{")) {
		err = json.Unmarshal(text, &d)
	} else {
		err = yaml.Unmarshal(data, &d)
	}
	if err != nil {
		return index{}, fmt.Errorf("index.yaml cannot be read: %s", source.Line(err.Error()))
	}
	if d.Entries == nil {
		return index{}, errors.New("index.yaml has no entries")
	}
	x := index{charts: map[string][]entry{}}
	count := 0
	for name, all := range d.Entries {
		for _, e := range all {
			if e == nil || e.Version == "" || len(e.URLs) == 0 {
				continue
			}
			if count++; count > versions {
				return index{}, fmt.Errorf("index.yaml lists more than %d versions", versions)
			}
			created, _ := time.Parse(time.RFC3339Nano, e.Created) // a claim, and for people only
			// Clones: the rest of the document is not to stay for them.
			one := entry{version: strings.Clone(e.Version), digest: digest(e.Digest), url: strings.Clone(e.URLs[0]), created: created}
			x.charts[name] = append(x.charts[name], one)
			x.weight += int64(len(name) + len(one.version) + len(one.digest) + len(one.url) + 100)
		}
	}
	return x, nil
}

// digest is written with and without its scheme.
func digest(s string) string {
	full := "sha256:" + strings.ToLower(strings.TrimPrefix(s, "sha256:"))
	if !source.IsDigest(full) {
		return ""
	}
	return full
}
