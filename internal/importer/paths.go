package importer

import (
	"regexp"
	"strings"
)

var (
	plainPart = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
)

// ofPointer is a JSON pointer as a dotted path.
func ofPointer(pointer string) string {
	var parts []string
	for _, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		parts = append(parts, strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
	}
	return dotted(parts)
}

func dotted(parts []string) string {
	b := strings.Builder{}
	for _, part := range parts {
		switch {
		case !plainPart.MatchString(part):
			b.WriteString("[" + part + "]")
		case b.Len() > 0:
			b.WriteString("." + part)
		default:
			b.WriteString(part)
		}
	}
	return b.String()
}

var (
	jqPart = regexp.MustCompile(`^(?:\.?([A-Za-z_][A-Za-z0-9_]*)|\.?"([^"\\]+)"|\.?\["([^"\\]+)"\]|(\[\])|\[([0-9]+)\])`)
	// jqKey is the usual way to choose an element by one of its fields.
	jqKey = regexp.MustCompile(`^\[\]\s*\|\s*select\(\s*\.([A-Za-z_][A-Za-z0-9_]*)\s*==\s*"([^"\\]+)"\s*\)`)
)

// ofJQ is a jq expression as a dotted path, where it is no more than one.
func ofJQ(expression string) (string, bool) {
	rest := strings.TrimSpace(expression)
	var b strings.Builder
	if !strings.HasPrefix(rest, ".") {
		return "", false
	}
	for rest != "" {
		if m := jqKey.FindStringSubmatch(rest); m != nil {
			b.WriteString("[" + m[1] + "=" + m[2] + "]")
			rest = strings.TrimLeft(rest[len(m[0]):], " |")
			continue
		}
		m := jqPart.FindStringSubmatch(rest)
		if m == nil {
			return "", false
		}
		rest = rest[len(m[0]):]
		switch {
		case m[4] != "":
			b.WriteString("[*]")
		case m[5] != "":
			b.WriteString("[" + m[5] + "]")
		default:
			next := dotted([]string{m[1] + m[2] + m[3]})
			if b.Len() > 0 && !strings.HasPrefix(next, "[") {
				b.WriteByte('.')
			}
			b.WriteString(next)
		}
	}
	return b.String(), b.Len() > 0
}
