package content

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// header opens every encoded bundle and names its format. What follows is one
// line of JSON for each object, in canonical order.
const header = "atoll-content/1\n"

type line struct {
	Manifest json.RawMessage   `json:"manifest"`
	Values   map[string]string `json:"values,omitempty"`
}

// Encode is the canonical form: equal bundles give equal bytes, in whatever
// order and files the objects were written.
func (b Bundle) Encode() []byte {
	var out bytes.Buffer
	out.WriteString(header)
	for _, o := range slices.SortedFunc(slices.Values(b.Objects), compareObjects) {
		data, err := canonicalJSON(line{Manifest: o.Manifest, Values: o.Values})
		if err != nil {
			panic(fmt.Sprintf("encode %s: %v", o.Ref, err)) // Manifest is valid JSON by Parse and Decode
		}
		out.Write(data)
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// canonicalJSON sorts keys, uses no space and leaves '<', '>' and '&' alone.
func canonicalJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// Digest names the bundle.
func (b Bundle) Digest() desired.Digest { return desired.Sum(b.Encode()) }

// Decode reads what Encode wrote and checks it as strictly as Parse does: an
// agent takes nothing on trust. The bundle refers to data, which must not
// change afterwards.
func Decode(data []byte) (Bundle, error) {
	rest, ok := bytes.CutPrefix(data, []byte(header))
	switch {
	case !ok:
		return Bundle{}, errors.New("decode content: unknown format; it may come from a newer hub")
	case len(data) > 2*MaxTotal: // manifests, and the references beside them
		return Bundle{}, fmt.Errorf("decode content: %d bytes are too many", len(data))
	case len(rest) > 0 && rest[len(rest)-1] != '\n':
		return Bundle{}, errors.New("decode content: the end is missing")
	}
	var b Bundle
	for text := range bytes.Lines(rest) {
		if len(b.Objects) == MaxObjects {
			return Bundle{}, fmt.Errorf("decode content: more than %d objects", MaxObjects)
		}
		o, err := decodeObject(bytes.TrimSuffix(text, []byte("\n")))
		if err != nil {
			return Bundle{}, fmt.Errorf("decode content: object %d: %w", len(b.Objects)+1, err)
		}
		if n := len(b.Objects); n > 0 && compareObjects(b.Objects[n-1], o) >= 0 {
			return Bundle{}, fmt.Errorf("decode content: object %d, %s, is out of order or stands twice", n+1, o.Ref)
		}
		b.Objects = append(b.Objects, o)
	}
	return b, nil
}

var refPattern = regexp.MustCompile(`^hmac-sha256:[0-9a-f]{64}$`)

func decodeObject(text []byte) (Object, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return Object{}, err
	}
	if len(l.Manifest) > MaxObject {
		return Object{}, fmt.Errorf("%d bytes are more than %d", len(l.Manifest), MaxObject)
	}
	manifest, err := manifestOf(l.Manifest)
	if err != nil {
		return Object{}, err
	}
	ref, problems := check(manifest)
	if len(problems) > 0 {
		return Object{}, fmt.Errorf("%s: %s", describe(manifest), problems[0])
	}
	if _, list := listItems(manifest); list {
		return Object{}, fmt.Errorf("%s wraps other objects", ref)
	}
	dropServerOwned(manifest) // what should not be there shows as a difference
	if canonical, err := canonicalJSON(manifest); err != nil {
		return Object{}, err
	} else if !bytes.Equal(canonical, l.Manifest) {
		return Object{}, fmt.Errorf("%s is not in canonical form", ref)
	}
	if err := checkSplit(ref, manifest, l.Values); err != nil {
		return Object{}, err
	}
	return Object{Ref: ref, Manifest: l.Manifest, Values: l.Values}, nil
}

// checkSplit verifies that a Secret's values are references, and that nothing
// else has any.
func checkSplit(ref report.ObjectRef, manifest map[string]any, values map[string]string) error {
	if !isSecret(ref) {
		if len(values) > 0 {
			return fmt.Errorf("%s has secret values but is no Secret", ref)
		}
		return nil
	}
	_, data := manifest["data"]
	_, stringData := manifest["stringData"]
	if data || stringData || foreignField(manifest) != "" {
		return fmt.Errorf("%s holds values in clear", ref)
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !refPattern.MatchString(values[key]) {
			return fmt.Errorf("%s: the reference of %q is malformed", ref, shorten(key))
		}
	}
	return nil
}

func manifestOf(data []byte) (map[string]any, error) {
	v, err := strictJSON(data)
	if err != nil {
		return nil, err
	}
	manifest, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not a Kubernetes object")
	}
	return manifest, nil
}

// Refs are the references of all secret values, sorted, each once.
func (b Bundle) Refs() []string {
	set := map[string]struct{}{}
	for _, o := range b.Objects {
		for _, ref := range o.Values {
			set[ref] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// Secrets counts the Secrets whose values were split out.
func (b Bundle) Secrets() int {
	n := 0
	for _, o := range b.Objects {
		if len(o.Values) > 0 {
			n++
		}
	}
	return n
}
