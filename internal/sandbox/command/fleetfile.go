package command

import (
	"errors"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/sandbox"
)

// parseFleet reads a fleet file. A field that does not exist is an error: a
// typing mistake must not become a default.
func parseFleet(data []byte) ([]sandbox.ClusterSpec, error) {
	var file struct {
		Clusters []sandbox.ClusterSpec `json:"clusters"`
	}
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		return nil, err
	}
	if len(file.Clusters) == 0 {
		return nil, errors.New("it lists no clusters")
	}
	for _, spec := range file.Clusters {
		if err := spec.Validate(); err != nil {
			return nil, err
		}
		for key, value := range spec.NodeLabels {
			if err := checkLabel(key, value); err != nil {
				return nil, err
			}
		}
	}
	return file.Clusters, nil
}

func parseLabels(pairs []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return nil, usagef("label %q must be key=value", pair)
		}
		if err := checkLabel(key, value); err != nil {
			return nil, err
		}
		labels[key] = value
	}
	return labels, nil
}

func checkLabel(key, value string) error {
	if problems := validation.IsQualifiedName(key); len(problems) > 0 {
		return usagef("label key %q: %s", key, problems[0])
	}
	if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
		return usagef("value %q of label %s: %s", value, key, problems[0])
	}
	return nil
}

func merged(base, over map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, base)
	maps.Copy(all, over)
	return all
}
