package importer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"sigs.k8s.io/yaml"
)

// templating is one of the two languages that ApplicationSets are written in.
type templating struct {
	// golang is text/template with sprig; otherwise {{key}} is replaced.
	golang  bool
	options []string
}

// maxText bounds what one template may become, in bytes.
const maxText = 1 << 20

// maxRepeat bounds what templates may ask sprig to multiply.
const maxRepeat = 1000

// functions are sprig's that give the same each time, and those that Argo CD adds.
var functions = func() template.FuncMap {
	all := sprig.HermeticTxtFuncMap()
	for _, name := range []string{"genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey", "htpasswd", "bcrypt", "derivePassword", "encryptAES", "shuffle", "ago", "randInt", "untilStep", "seq"} {
		delete(all, name)
	}
	all["repeat"] = func(n int, s string) (string, error) {
		if n < 0 || n > maxRepeat || n*len(s) > maxText {
			return "", fmt.Errorf("repeat %d times is more than an import does", n)
		}
		return strings.Repeat(s, n), nil
	}
	all["until"] = func(n int) ([]int, error) {
		if n < 0 || n > maxRepeat {
			return nil, fmt.Errorf("until %d is more than an import counts", n)
		}
		counted := make([]int, n)
		for i := range counted {
			counted[i] = i
		}
		return counted, nil
	}
	all["normalize"] = normalize
	all["slugify"] = normalize
	all["toYaml"] = func(v any) (string, error) {
		data, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(data), "\n"), err
	}
	all["fromYaml"] = func(s string) (map[string]any, error) {
		out := map[string]any{}
		return out, yaml.Unmarshal([]byte(s), &out)
	}
	all["fromYamlArray"] = func(s string) ([]any, error) {
		out := []any{}
		return out, yaml.Unmarshal([]byte(s), &out)
	}
	return all
}()

var notNormal = regexp.MustCompile(`[^a-z0-9.-]+`)

// normalize makes a DNS subdomain, as Argo CD does.
func normalize(s string) string {
	s = notNormal.ReplaceAllString(strings.ToLower(s), "-")
	if len(s) > 253 {
		s = s[:253]
	}
	return strings.Trim(s, "-.")
}

// fill replaces in all strings of a value, keys of maps among them.
func (t templating) fill(v any, params map[string]any) (any, error) {
	return t.walk(v, func() func(string) (string, error) {
		if t.golang {
			return func(s string) (string, error) { return t.execute(s, params) }
		}
		flat := map[string]string{}
		flatten("", params, flat)
		return func(s string) (string, error) { return substitute(s, flat), nil }
	}())
}

func (t templating) walk(v any, text func(string) (string, error)) (any, error) {
	switch v := v.(type) {
	case string:
		if !strings.Contains(v, "{{") {
			return v, nil
		}
		return text(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = t.walk(v[i], text); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, child := range v {
			key, err := t.walk(k, text)
			if err != nil {
				return nil, err
			}
			if out[key.(string)], err = t.walk(child, text); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

var errTooLong = errors.New("a template becomes longer than 1 MiB")

// bounded is a writer that ends a template which goes on for ever.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxText {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

func (t templating) execute(s string, params map[string]any) (string, error) {
	parsed, err := template.New("").Funcs(functions).Option(t.known()...).Parse(s)
	if err != nil {
		return "", fmt.Errorf("template %q: %w", s, err)
	}
	out := &bounded{}
	if err := parsed.Execute(out, params); err != nil {
		return "", fmt.Errorf("template %q: %w", s, err)
	}
	return out.String(), nil
}

// known leaves out options that text/template would panic at.
func (t templating) known() []string {
	var known []string
	for _, o := range t.options {
		switch o {
		case "missingkey=default", "missingkey=invalid", "missingkey=zero", "missingkey=error":
			known = append(known, o)
		}
	}
	return known
}

var placeholder = regexp.MustCompile(`\{\{\s*([^{}]*?)\s*\}\}`)

// substitute leaves what it does not know as it stands, as Argo CD does.
func substitute(s string, flat map[string]string) string {
	return placeholder.ReplaceAllStringFunc(s, func(whole string) string {
		if v, ok := flat[placeholder.FindStringSubmatch(whole)[1]]; ok {
			return v
		}
		return whole
	})
}

// flatten names nested parameters by dots. A path is a text there, and has
// its parts in brackets.
func flatten(at string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if p, ok := v["path"].(string); ok && v["segments"] != nil {
			v = maps.Clone(v)
			into[at] = p
			for i, part := range v["segments"].([]any) {
				into[fmt.Sprintf("%s[%d]", at, i)] = fmt.Sprint(part)
			}
			delete(v, "path")
			delete(v, "segments")
		}
		for k, child := range v {
			flatten(strings.TrimPrefix(at+"."+k, "."), child, into)
		}
	case string:
		into[at] = v
	default:
		data, err := json.Marshal(v)
		if err == nil {
			into[at] = string(data)
		}
	}
}
