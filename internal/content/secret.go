package content

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/report"
)

// secretFields are all that a Secret may have: a value under any other name
// would travel in clear, and the API server would drop it anyway.
var secretFields = []string{"apiVersion", "data", "immutable", "kind", "metadata", "stringData", "type"}

// splitSecret takes the values out of a Secret and returns the reference that
// stands for each. Problems never quote a value.
func (p *parser) splitSecret(ref report.ObjectRef, manifest map[string]any) (map[string]string, []string) {
	if foreign := foreignField(manifest); foreign != "" {
		return nil, []string{fmt.Sprintf("%s is not a field of a Secret, and a value there would not be kept secret: remove it", shorten(foreign))}
	}
	clear, problems := secretValues(manifest)
	delete(manifest, "data")
	delete(manifest, "stringData")
	if len(clear) > 0 && p.options.Ref == nil {
		problems = append(problems, "holds values, and this source is stored in clear: deliver it with `atoll deploy -f`, which splits them out")
	}
	if len(problems) > 0 || len(clear) == 0 {
		return nil, problems
	}
	refs := make(map[string]string, len(clear))
	for key, value := range clear {
		refs[key] = p.options.Ref(ref.Namespace, ref.Name, key, value)
		p.values[refs[key]] = value
	}
	return refs, nil
}

func foreignField(secret map[string]any) string {
	for _, field := range slices.Sorted(maps.Keys(secret)) {
		if !slices.Contains(secretFields, field) {
			return field
		}
	}
	return ""
}

// secretValues reads data and stringData as the API server does: stringData wins.
func secretValues(manifest map[string]any) (map[string][]byte, []string) {
	values := map[string][]byte{}
	var problems []string
	for _, field := range []string{"data", "stringData"} {
		if manifest[field] == nil {
			continue
		}
		entries, ok := manifest[field].(map[string]any)
		if !ok {
			problems = append(problems, field+" must map names to values")
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			value, why := secretValue(field, entries[key])
			if why != "" {
				problems = append(problems, fmt.Sprintf("%s[%s] %s", field, shorten(key), why))
				continue
			}
			values[key] = value
		}
	}
	return values, problems
}

func secretValue(field string, v any) (value []byte, problem string) {
	text, ok := v.(string)
	switch {
	case v == nil:
		return []byte{}, ""
	case !ok:
		return nil, "must be a string: quote the value"
	case field == "stringData":
		return []byte(text), ""
	}
	value, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, "is not base64: encode the value, or move it to stringData"
	}
	return value, ""
}
