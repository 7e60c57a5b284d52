package helm

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// checkSchemas refuses schemas that lead elsewhere. Helm would follow them: to
// any address that the hub reaches, and to its own files.
func checkSchemas(c *chart.Chart) error {
	if c.Schema != nil {
		var schema any
		if err := json.Unmarshal(c.Schema, &schema); err != nil {
			return fmt.Errorf("%s/values.schema.json: %w", c.ChartFullPath(), err)
		}
		if err := checkReferences(schema); err != nil {
			return fmt.Errorf("%s/values.schema.json: %w", c.ChartFullPath(), err)
		}
	}
	for _, d := range c.Dependencies() {
		if err := checkSchemas(d); err != nil {
			return err
		}
	}
	return nil
}

func checkReferences(v any) error {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := checkReferences(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, e := range v {
			if target, ok := e.(string); ok && leadsElsewhere(key, target) {
				return fmt.Errorf("%s %q leads out of the file: put the definition into it", key, target)
			}
			if err := checkReferences(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// standard are the schemas of schemas that the library has: any other it would
// ask their host for.
var standard = regexp.MustCompile(`^https?://json-schema\.org/(schema|draft-0[467]/schema|draft/(2019-09|2020-12)/schema)#?$`)

func leadsElsewhere(key, target string) bool {
	switch key {
	case "$ref", "$dynamicRef", "$recursiveRef":
		return !strings.HasPrefix(target, "#")
	case "$schema":
		return !standard.MatchString(target)
	case "$id", "id":
		// References within the file count from here.
		return strings.HasPrefix(target, "file:")
	}
	return false
}
