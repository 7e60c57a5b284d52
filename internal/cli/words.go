package cli

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// age is kubectl's: "5s", "4m12s", "3h", "12d"; "never" for the zero time.
func age(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return duration.HumanDuration(max(now.Sub(t), 0))
}

// ago is age as words.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return age(now, t) + " ago"
}

// count is "1 object", "12 objects".
func count[N int | int32 | int64 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %s", n, plural(noun))
}

func plural(noun string) string {
	switch {
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "x"):
		return noun + "es"
	case strings.HasSuffix(noun, "cy"), strings.HasSuffix(noun, "ty"), strings.HasSuffix(noun, "ry"):
		return noun[:len(noun)-1] + "ies"
	default:
		return noun + "s"
	}
}

// size is in binary units, "58.3 KiB".
func size(bytes int64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, suffix := float64(bytes)/unit, "KiB"
	if value >= unit {
		value, suffix = value/unit, "MiB"
	}
	return fmt.Sprintf("%.1f %s", value, suffix)
}

// short is the part of a digest that people compare.
func short(digest string) string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) <= 12 {
		return digest
	}
	return algorithm + ":" + hex[:12]
}

// list is "a", "a and b", "a, b and c"; beyond most it counts the rest.
func list(items []string, most int) string {
	if len(items) > most {
		rest := len(items) - most
		return strings.Join(items[:most], ", ") + fmt.Sprintf(" and %d more", rest)
	}
	switch len(items) {
	case 0:
		return ""
	case 1:
		return items[0]
	default:
		return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
	}
}

// orNone replaces nothing by a word that cannot be mistaken for a value.
func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

// closest finds what the person may have meant, or "".
func closest(word string, among []string) string {
	best, distance := "", 1+max(1, len(word)/3)
	for _, candidate := range among {
		if d := edits(strings.ToLower(word), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// didYouMean is ": did you mean X?" or "".
func didYouMean(word string, among []string) string {
	if c := closest(word, among); c != "" {
		return fmt.Sprintf(": did you mean %q?", c)
	}
	return ""
}

// edits is the optimal string alignment distance: insert, delete, replace and
// swap of neighbours cost one each.
func edits(a, b string) int {
	s, t := []rune(a), []rune(b)
	d := make([][]int, len(s)+1)
	for i := range d {
		d[i] = make([]int, len(t)+1)
		d[i][0] = i
	}
	for j := range t {
		d[0][j+1] = j + 1
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(s)][len(t)]
}
