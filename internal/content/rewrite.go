package content

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// clearFields are what a Secret has that is no value.
var clearFields = []string{"apiVersion", "immutable", "kind", "metadata", "type"}

// Rewritten is o with other JSON for its manifest. It must still be the same
// object: what an agent owns, deletes and reports goes by that. A Secret's
// values are no part of a manifest, and none may be put in.
func (o Object) Rewritten(manifest []byte) (Object, error) {
	if len(manifest) > MaxObject {
		return o, fmt.Errorf("has %d bytes then, more than %d", len(manifest), MaxObject)
	}
	fields, err := manifestOf(manifest)
	if err != nil {
		return o, err
	}
	ref, problems := check(fields)
	if len(problems) > 0 {
		return o, errors.New(strings.Join(problems, "; "))
	}
	if ref != o.Ref {
		return o, fmt.Errorf("would be another object then, %s of %s: apiVersion, kind, metadata.name and metadata.namespace stay", ref, typeOf(fields).APIVersion)
	}
	if dropped := dropServerOwned(fields); len(dropped) > 0 {
		return o, fmt.Errorf("%s is set by the API server only", strings.Join(dropped, ", "))
	}
	if isSecret(ref) {
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			if !slices.Contains(clearFields, field) {
				return o, fmt.Errorf("%s of a Secret cannot be given so, for it would lie in clear", shorten(field))
			}
		}
	}
	if o.Manifest, err = canonicalJSON(fields); err != nil {
		return o, err
	}
	return o, nil
}
