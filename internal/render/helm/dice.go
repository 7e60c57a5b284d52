package helm

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	// Zones by name must not depend on what the machine has installed.
	_ "time/tzdata"

	"github.com/Masterminds/sprig/v3"
)

// dice stand in for everything that answers differently each time. Each throw
// has two outcomes that differ wherever real ones could, so that two renders
// tell for certain whether the outcome matters, without rolling anything. What
// they give is never delivered: where it reaches the output, the chart is
// refused.
type dice struct {
	// other decides which throws, counted from 0, have their other outcome.
	other func(throw int) bool
	// stop is the throw that fails, which is how its line is found; -1 is none.
	stop   int
	throws []string
}

func (d *dice) throw(function string) (other bool, err error) {
	n := len(d.throws)
	d.throws = append(d.throws, function)
	if n == d.stop {
		return false, errStopped
	}
	return d.other(n), nil
}

var errStopped = fmt.Errorf("stopped here to tell where it is")

// pick throws for one of two values.
func pick[T any](d *dice, function string, one, other T) (T, error) {
	second, err := d.throw(function)
	if second {
		return other, err
	}
	return one, err
}

func (d *dice) functions() template.FuncMap {
	f := template.FuncMap{
		"uuidv4": func() (string, error) {
			return pick(d, "uuidv4", "0a000000-0000-4000-8000-000000000000", "1b111111-1111-4111-9111-111111111111")
		},
		"randInt":       func(low, high int) (int, error) { return pick(d, "randInt", low, max(low, high-1)) },
		"randBytes":     d.randomBytes,
		"shuffle":       d.shuffle,
		"bcrypt":        func(string) (string, error) { return pick(d, "bcrypt", "$2a$10$A", "$2a$10$B") },
		"htpasswd":      func(user, _ string) (string, error) { return pick(d, "htpasswd", user+":$2a$10$A", user+":$2a$10$B") },
		"encryptAES":    func(_, _ string) (string, error) { return pick(d, "encryptAES", "QQ==", "Qg==") },
		"genPrivateKey": func(string) (string, error) { return pick(d, "genPrivateKey", pem("A"), pem("B")) },
		"keys":          sortedKeys,
		"values":        sortedValues,
	}
	for name, letters := range map[string]string{"randAlphaNum": "A1", "randAlpha": "Ab", "randAscii": "A~", "randNumeric": "01"} {
		f[name] = func(n int) (string, error) {
			n = max(n, 0)
			return pick(d, name, strings.Repeat(letters[:1], n), strings.Repeat(letters[1:], n))
		}
	}
	maps.Copy(f, d.certificates())
	maps.Copy(f, d.times())
	return f
}

func (d *dice) randomBytes(n int) (string, error) {
	encode := func(letter string) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, max(n, 0))))
	}
	return pick(d, "randBytes", encode("A"), encode("b"))
}

// shuffle differs unless every order of the letters reads the same.
func (d *dice) shuffle(s string) (string, error) {
	up := []rune(s)
	slices.Sort(up)
	down := slices.Clone(up)
	slices.Reverse(down)
	return pick(d, "shuffle", string(up), string(down))
}

// certificate has the fields of sprig's.
type certificate struct{ Cert, Key string }

func pem(letter string) string {
	return "-----BEGIN NOTHING-----\n" + strings.Repeat(letter, 64) + "\n-----END NOTHING-----\n"
}

func (d *dice) certificates() template.FuncMap {
	make := func(name string) (certificate, error) {
		return pick(d, name, certificate{pem("A"), pem("A")}, certificate{pem("B"), pem("B")})
	}
	type names = []any
	return template.FuncMap{
		"genCA":                    func(string, int) (certificate, error) { return make("genCA") },
		"genCAWithKey":             func(string, int, string) (certificate, error) { return make("genCAWithKey") },
		"genSelfSignedCert":        func(string, names, names, int) (certificate, error) { return make("genSelfSignedCert") },
		"genSelfSignedCertWithKey": func(string, names, names, int, string) (certificate, error) { return make("genSelfSignedCertWithKey") },
		"genSignedCert":            func(string, names, names, int, any) (certificate, error) { return make("genSignedCert") },
		"genSignedCertWithKey":     func(string, names, names, int, any, string) (certificate, error) { return make("genSignedCertWithKey") },
	}
}

var (
	oneTime   = time.Date(2001, time.February, 3, 4, 5, 6, 7, time.UTC)
	otherTime = time.Date(2032, time.November, 20, 21, 32, 43, 987654321, time.UTC)
)

// times are the functions that look at the clock, some only when they get no
// time to work on.
func (d *dice) times() template.FuncMap {
	now := func(name string) (time.Time, error) { return pick(d, name, oneTime, otherTime) }
	inZone := sprig.TxtFuncMap()["dateInZone"].(func(string, any, string) string)
	format := func(name, layout string, at any, zone string) (string, error) {
		if isTime(at) {
			return inZone(layout, at, zone), nil
		}
		t, err := now(name)
		return inZone(layout, t, zone), err
	}
	zoned := func(name string) func(string, any, string) (string, error) {
		return func(layout string, at any, zone string) (string, error) { return format(name, layout, at, zone) }
	}
	const day = "2006-01-02"
	return template.FuncMap{
		"now":            func() (time.Time, error) { return now("now") },
		"date":           func(layout string, at any) (string, error) { return format("date", layout, at, "Local") },
		"dateInZone":     zoned("dateInZone"),
		"date_in_zone":   zoned("date_in_zone"),
		"htmlDate":       func(at any) (string, error) { return format("htmlDate", day, at, "Local") },
		"htmlDateInZone": func(at any, zone string) (string, error) { return format("htmlDateInZone", day, at, zone) },
		"ago":            func(any) (string, error) { return pick(d, "ago", "1s", "20h0m2s") },
	}
}

func isTime(v any) bool {
	switch v.(type) {
	case time.Time, *time.Time, int64, int, int32:
		return true
	}
	return false
}

// sortedKeys and sortedValues are sprig's keys and values in an order: theirs
// is another each time.
func sortedKeys(dicts ...map[string]any) []string {
	all := []string{}
	for _, d := range dicts {
		all = append(all, slices.Sorted(maps.Keys(d))...)
	}
	return all
}

func sortedValues(d map[string]any) []any {
	all := []any{}
	for _, k := range slices.Sorted(maps.Keys(d)) {
		all = append(all, d[k])
	}
	return all
}
