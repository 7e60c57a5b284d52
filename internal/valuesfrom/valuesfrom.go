// Package valuesfrom makes values of a chart from the Secrets and ConfigMaps that
// an application names, and keeps what Secrets say out of everybody's sight.
//
// It decides how they are merged, when one that is missing matters, and what may
// not come out of a render: a string of a Secret may stand in the data of Secrets
// and nowhere else. It leaves to others reading the objects and rendering
// (internal/controllers/source, internal/manifests).
//
// What cannot be told from other words is not looked for: true, false, null,
// numbers and strings of fewer than six characters. Neither is what a template
// made of a value by a function that leaves nothing of it to see, such as a
// checksum, which charts put into annotations on purpose.
package valuesfrom

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/source"
)

// The kinds of objects that have values.
const (
	Secret    = "Secret"
	ConfigMap = "ConfigMap"
)

// Reasons why an application's values cannot be had.
const (
	Missing = "ValuesMissing"
	Refused = "ValuesRefused"
)

// DefaultKey is where values are when the application does not say.
const DefaultKey = "values.yaml"

// maxValues bounds what one object says, aliases replaced, in bytes.
const maxValues = 2 << 20

// Object is a Secret or ConfigMap as it was read.
type Object struct {
	// Version names it together with what it holds.
	Version string
	Data    map[string][]byte
}

// Values are what an application's objects say together.
type Values struct {
	// JSON is one map; nil without any.
	JSON []byte
	// Versions names by digest what it was made of; empty without any.
	Versions string
	private  *private
}

// String hides the values from every %v and %s.
func (v Values) String() string { return "values " + source.ShortID(v.Versions) + " " + Hidden }

// GoString hides them from %#v.
func (v Values) GoString() string { return v.String() }

// Merge reads the objects in their order, in which later ones win. read returns nil
// for what is not there. The errors are *source.Failure, but for those of read.
func Merge(refs []v1alpha1.ValuesReference, read func(kind, name string) (*Object, error)) (Values, error) {
	if len(refs) == 0 {
		return Values{}, nil
	}
	merged, versions, hidden := map[string]any{}, sha256.New(), finder{}
	for i, ref := range refs {
		object, err := read(ref.Kind, ref.Name)
		if err != nil {
			return Values{}, err
		}
		if object != nil {
			fmt.Fprintf(versions, "%d %q\n", i, object.Version)
		}
		values, err := one(i, ref, object)
		if err != nil {
			return Values{}, err
		}
		if ref.Kind == Secret {
			hidden.add(values)
			if len(hidden.words) > maxWords {
				return Values{}, source.Fail(Refused, "spec.source.helm.valuesFrom[%d]: the Secrets have more than %d strings: leave in them what is secret, and put the rest into a ConfigMap", i, maxWords)
			}
		}
		Lay(merged, values)
	}
	text, err := json.Marshal(merged)
	if err != nil {
		return Values{}, fmt.Errorf("encode the values of Secrets and ConfigMaps: %w", err)
	}
	return Values{JSON: text, Versions: "sha256:" + hex.EncodeToString(versions.Sum(nil)), private: hidden.private()}, nil
}

// one are the values by one reference; nil when it may be missing, and is.
func one(i int, ref v1alpha1.ValuesReference, o *Object) (map[string]any, error) {
	at, key := fmt.Sprintf("spec.source.helm.valuesFrom[%d]", i), cmp.Or(ref.ValuesKey, DefaultKey)
	if o == nil {
		if ref.Optional {
			return nil, nil
		}
		return nil, source.Fail(Missing, "%s: there is no %s %s in the project's namespace: create it, or set optional", at, ref.Kind, ref.Name)
	}
	text, ok := o.Data[key]
	switch {
	case !ok && ref.Optional:
		return nil, nil
	case !ok:
		return nil, source.Fail(Missing, "%s: %s %s has no key %s: put the values there, or name the key in valuesKey", at, ref.Kind, ref.Name, key)
	case ref.TargetPath != "" && !utf8.Valid(text):
		return nil, source.Fail(Refused, "%s: key %s of %s %s is no text, and a value of a chart is", at, key, ref.Kind, ref.Name)
	case ref.TargetPath != "":
		return atPath(ref.TargetPath, string(text)), nil
	}
	values, err := content.Values(text, maxValues)
	if err != nil {
		return nil, source.Fail(Refused, "%s: key %s of %s %s: %w: write a map of values, or say with targetPath where the whole of it belongs", at, key, ref.Kind, ref.Name, err)
	}
	return values, nil
}

func atPath(path, text string) map[string]any {
	first, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		return map[string]any{first: text}
	}
	return map[string]any{first: atPath(rest, text)}
}

// Lay lays values over values, as Helm does with several files: maps are merged,
// and all else is replaced.
func Lay(under, over map[string]any) {
	for key, value := range over {
		mine, isMap := under[key].(map[string]any)
		theirs, both := value.(map[string]any)
		if isMap && both {
			Lay(mine, theirs)
			continue
		}
		under[key] = value
	}
}

// Check fails, with a *source.Failure, where an object of a content shows what a
// Secret said.
func (v Values) Check(b content.Bundle) error {
	if v.private == nil {
		return nil
	}
	for _, o := range b.Objects {
		d := json.NewDecoder(bytes.NewReader(o.Manifest))
		d.UseNumber()
		var manifest any
		if err := d.Decode(&manifest); err != nil && err != io.EOF {
			return fmt.Errorf("look for values of Secrets in %s: %w", v.Mask(o.Ref.String()), err)
		}
		if path, found := v.private.in(nil, manifest); found {
			return source.Refuse(Refused, "%s: %s shows a value of a Secret that spec.source.helm.valuesFrom names: have the chart put it into a Secret, or, if it is none, keep it in a ConfigMap",
				v.Mask(o.Ref.String()), v.Mask(path))
		}
	}
	return nil
}

// Mask takes what Secrets said out of a text.
func (v Values) Mask(text string) string {
	if v.private == nil {
		return text
	}
	return v.private.mask(text)
}
