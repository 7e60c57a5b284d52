package content

import (
	"errors"
	"fmt"
)

// Values reads one map in YAML or JSON, such as the values of a chart, which may
// hold secrets: no error quotes what was read. limit is how many bytes it may come
// to once its aliases are replaced.
func Values(text []byte, limit int64) (map[string]any, error) {
	docs := split(text)
	switch {
	case len(docs) == 0:
		return nil, nil
	case len(docs) > 1:
		return nil, fmt.Errorf("has %d documents; values are one map", len(docs))
	}
	size, err := expandedSize(docs[0].text, limit)
	if err != nil {
		return nil, docs[0].lines(err)
	}
	if size > limit {
		return nil, fmt.Errorf("has more than %d bytes", limit)
	}
	read, _, err := docs[0].values("", limit)
	if err != nil {
		return nil, err
	}
	if len(read) == 1 && read[0] == nil {
		return nil, nil
	}
	values, ok := read[0].(map[string]any)
	if !ok || len(read) != 1 {
		return nil, errors.New("is not one map of values")
	}
	return values, nil
}
