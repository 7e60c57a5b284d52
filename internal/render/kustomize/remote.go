package kustomize

import (
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// reading are the fields of a kustomization that name files, folders or
// addresses, at any depth.
var reading = map[string]bool{
	"resources": true, "bases": true, "components": true, "crds": true, "configurations": true,
	"generators": true, "transformers": true, "validators": true, "path": true,
	"files": true, "envs": true, "env": true, "patchesStrategicMerge": true,
}

// checkReferences refuses what a kustomization would fetch or run.
func checkReferences(name string, text []byte) error {
	var k map[string]any
	if err := yaml.Unmarshal(text, &k); err != nil {
		return nil // the library says better what is wrong with it
	}
	for _, charts := range []string{"helmCharts", "helmChartInflationGenerator"} {
		if k[charts] != nil {
			return fmt.Errorf("%s: %s runs the helm program: make the chart a source of its own, or commit what it renders to", name, charts)
		}
	}
	for key, v := range k {
		if err := checkField(name, key, v); err != nil {
			return err
		}
	}
	return nil
}

func checkField(name, key string, v any) error {
	switch v := v.(type) {
	case map[string]any:
		for inner, e := range v {
			if err := checkField(name, inner, e); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := checkField(name, key, e); err != nil {
				return err
			}
		}
	case string:
		if reading[key] && isRemote(key, v) {
			return fmt.Errorf("%s: %s: %q lies outside of the source, and nothing is fetched while rendering: commit a copy of it", name, key, v)
		}
	}
	return nil
}

// remote are the forms that kustomize takes for an address.
var remote = regexp.MustCompile(`(?i)^(git::|gh:|file:|[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+[:/]|(www\.)?github\.com[:/])|[?&](ref|version)=`)

func isRemote(key, v string) bool {
	if strings.Contains(v, "\n") {
		return false // a patch or a generator written out in place
	}
	if key == "files" {
		// "key=file": the address would follow the name.
		if _, file, named := strings.Cut(v, "="); named && !strings.ContainsAny(v[:strings.Index(v, "=")], ":/?") {
			v = file
		}
	}
	return remote.MatchString(v)
}
