package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what a record tells of an object.
const (
	maxChanges = 64
	maxValue   = 256 // bytes of JSON
)

// masked stands for a value that nobody should read here.
var masked = json.RawMessage(`"(secret)"`)

// bookkeeping are fields that the API server keeps, or that repeat the others.
var bookkeeping = []string{
	"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.managedFields", "metadata.resourceVersion",
	"metadata.generation", "metadata.uid", "metadata.creationTimestamp", "metadata.selfLink",
	"metadata.annotations.kubectl.kubernetes.io/last-applied-configuration",
}

// Changes lists which fields differ between an object before and after a write;
// nil for none on either side. Values of Secrets, and of fields that by their names
// hold what those should, are masked, and so are credentials within a text; of
// manifests only the size is told, since they may be of Secrets. more counts changes beyond the bound. What status says is left
// out unless the write is of it.
func Changes(before, after map[string]any, ofStatus bool) (changes []Change, more int) {
	c := &comparison{ofStatus: ofStatus}
	for _, object := range []map[string]any{before, after} {
		c.secret = c.secret || object["kind"] == "Secret" && object["apiVersion"] == "v1"
	}
	c.maps("", before, after)
	return c.changes, c.more
}

type comparison struct {
	secret, ofStatus bool
	changes          []Change
	more             int
}

func (c *comparison) compare(path string, before, after any) {
	if slices.Contains(bookkeeping, path) || path == "status" && !c.ofStatus || reflect.DeepEqual(before, after) {
		return
	}
	b, mapBefore := before.(map[string]any)
	a, mapAfter := after.(map[string]any)
	if (mapBefore || before == nil) && (mapAfter || after == nil) && len(b)+len(a) > 0 {
		c.maps(path, b, a)
		return
	}
	lb, listBefore := before.([]any)
	la, listAfter := after.([]any)
	if listBefore && listAfter {
		c.lists(path, lb, la)
		return
	}
	c.add(path, before, after)
}

func (c *comparison) maps(path string, before, after map[string]any) {
	keys := map[string]bool{}
	for k := range before {
		keys[k] = true
	}
	for k := range after {
		keys[k] = true
	}
	sorted := make([]string, 0, len(keys))
	for k := range keys {
		sorted = append(sorted, k)
	}
	slices.Sort(sorted)
	for _, k := range sorted {
		c.compare(strings.TrimPrefix(path+"."+k, "."), before[k], after[k])
	}
}

// lists are compared place by place, or by name where each of them has one.
func (c *comparison) lists(path string, before, after []any) {
	b, namedBefore := byName(before)
	a, namedAfter := byName(after)
	if namedBefore && namedAfter {
		for _, list := range [][]any{before, after} {
			for _, item := range list {
				name := item.(map[string]any)["name"].(string)
				if _, in := b[name]; in || a[name] != nil {
					c.compare(path+"["+name+"]", b[name], a[name])
					delete(b, name)
					delete(a, name)
				}
			}
		}
		return
	}
	for i := range max(len(before), len(after)) {
		c.compare(path+"["+strconv.Itoa(i)+"]", at(before, i), at(after, i))
	}
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

func byName(list []any) (map[string]any, bool) {
	out := map[string]any{}
	for _, item := range list {
		object, _ := item.(map[string]any)
		name, ok := object["name"].(string)
		if !ok || out[name] != nil {
			return nil, false
		}
		out[name] = item
	}
	return out, true
}

func (c *comparison) add(path string, before, after any) {
	if len(c.changes) == maxChanges {
		c.more++
		return
	}
	c.changes = append(c.changes, Change{Path: clip(path, maxValue), Before: c.value(path, before), After: c.value(path, after)})
}

const credentialWords = `password|passwd|passphrase|token|secret[-_]?key|secret[-_]?access[-_]?key|api[-_]?key|private[-_]?key|credentials?|client[-_]?secret`

// private are the names of fields that hold credentials in objects of any kind.
var private = regexp.MustCompile(`(?i)(` + credentialWords + `)([.\[\]]|$)`)

func (c *comparison) value(path string, v any) json.RawMessage {
	if v == nil {
		return nil
	}
	if c.secret && (strings.HasPrefix(path, "data.") || strings.HasPrefix(path, "stringData.") || path == "data" || path == "stringData") || private.MatchString(path) {
		return masked
	}
	if path == "spec.source.inline" {
		data, _ := json.Marshal(v)
		return fmt.Appendf(nil, `"(manifests, %d bytes)"`, len(data))
	}
	data, err := json.Marshal(readable(v, func(text string) string { return text }))
	if err != nil {
		return masked // nothing that came as JSON
	}
	if len(data) <= maxValue { // so that little is searched, whatever a caller sends
		data, _ = json.Marshal(readable(v, withoutCredentials))
		return data
	}
	text, size := string(data), len(data)
	if s, ok := v.(string); ok {
		text, size = s, len(s)
	}
	data, _ = json.Marshal(fmt.Sprintf("%s (%d bytes)", clip(withoutCredentials(text), maxValue), size)) // a string always is
	return data
}

// readable is a value without what nobody should read in it: in what came or went as
// a whole, names count as they do in a path; text makes each text one.
func readable(v any, text func(string) string) any {
	switch v := v.(type) {
	case string:
		return text(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, part := range v {
			if out[name] = masked; !private.MatchString(name) {
				out[name] = readable(part, text)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, part := range v {
			item, _ := part.(map[string]any)
			if name, _ := item["name"].(string); private.MatchString(name) {
				part = map[string]any{"name": name, "value": masked}
			}
			out[i] = readable(part, text)
		}
		return out
	}
	return v
}

// inText are credentials within a text: in an address, or behind their name.
var inText = regexp.MustCompile(`(?i)([a-z]://)[^/?#\s"']+@|((?:` + credentialWords + `)[\\"']*[ \t]*[:=][ \t]*)(?:\\?"[^"]*"?|'[^']*'?|[^\s,;&"'}]+)`)

// maxSearched bounds what is searched of a text: more than is told of any.
const maxSearched = 2 * maxReason

func withoutCredentials(text string) string {
	if len(text) > maxSearched {
		text = clip(text, maxSearched)
	}
	return inText.ReplaceAllStringFunc(text, func(found string) string {
		parts := inText.FindStringSubmatch(found)
		if parts[1] != "" {
			return parts[1] + "(secret)@"
		}
		return parts[2] + "(secret)"
	})
}
