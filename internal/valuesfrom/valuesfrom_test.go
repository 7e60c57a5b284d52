package valuesfrom_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/valuesfrom"
)

const canary = `p"ss w&rd-7`

// store has objects by kind and name, with one key each.
type store map[string]string

func (s store) read(kind, name string) (*valuesfrom.Object, error) {
	text, ok := s[kind+" "+name]
	if !ok {
		return nil, nil
	}
	key, value, _ := strings.Cut(text, "=")
	return &valuesfrom.Object{Version: text, Data: map[string][]byte{key: []byte(value)}}, nil
}

func secret(name string) v1alpha1.ValuesReference {
	return v1alpha1.ValuesReference{Kind: valuesfrom.Secret, Name: name}
}

func plain(name string) v1alpha1.ValuesReference {
	return v1alpha1.ValuesReference{Kind: valuesfrom.ConfigMap, Name: name}
}

func TestValuesAreMergedInTheirOrder(t *testing.T) {
	objects := store{
		"ConfigMap web": "values.yaml=db: {host: a, port: 1}\nlist: [1, 2]\n",
		"Secret db":     "values.yaml=db: {host: b}\nlist: [3]\n",
		"Secret admin":  "password=yes",
	}
	at := secret("admin")
	at.ValuesKey, at.TargetPath = "password", "admin.password"
	gone := secret("gone")
	gone.Optional = true
	v, err := valuesfrom.Merge([]v1alpha1.ValuesReference{plain("web"), secret("db"), gone, at}, objects.read)
	if err != nil || string(v.JSON) != `{"admin":{"password":"yes"},"db":{"host":"b","port":1},"list":[3]}` {
		t.Errorf("%s, %v", v.JSON, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", v, v, v, v); strings.Contains(text, "password") {
		t.Errorf("printed, values are %s", text)
	}
	objects["Secret gone"] = "values.yaml=a: b"
	if after, _ := valuesfrom.Merge([]v1alpha1.ValuesReference{plain("web"), secret("db"), gone, at}, objects.read); after.Versions == v.Versions {
		t.Error("an object that came is no other version")
	}
	if none, err := valuesfrom.Merge(nil, objects.read); err != nil || none.Versions != "" || none.JSON != nil {
		t.Errorf("without references there is %v, %v", none, err)
	}
}

func TestWhatIsMissingOrNoValuesIsNamedAndNotQuoted(t *testing.T) {
	objects := store{"Secret list": "values.yaml=[" + canary + "]", "Secret odd": "values.yaml=a: *hunter22", "Secret two": "values.yaml=a: 1\n---\na: 2",
		"Secret laughs": "values.yaml=a: &a " + strings.Repeat("x", 9000) + "\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: [" + strings.Repeat("*b,", 900) + "]"}
	for want, ref := range map[string]v1alpha1.ValuesReference{
		"valuesFrom[0]: there is no Secret gone": secret("gone"),
		"has no key other":                       {Kind: valuesfrom.Secret, Name: "list", ValuesKey: "other"},
		"is not one map of values":               secret("list"),
		"has no anchor":                          secret("odd"),
		"2 documents":                            secret("two"),
		"aliases":                                secret("laughs"),
	} {
		_, err := valuesfrom.Merge([]v1alpha1.ValuesReference{ref}, objects.read)
		var failure *source.Failure
		if !errors.As(err, &failure) || failure.Lasting || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%+v: %v; want words on %q", ref, err, want)
		}
	}
}

func TestAValueOfASecretThatStandsInClearIsRefusedByObjectAndField(t *testing.T) {
	key := "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ\n-----END PRIVATE KEY-----\n"
	objects := store{"Secret db": fmt.Sprintf("values.yaml=password: %q\nport: 5432\ntier: gold\nkey: %q\npin: '83920174'\n", canary, key), "ConfigMap web": "values.yaml=host: db.example.com\n"}
	v, err := valuesfrom.Merge([]v1alpha1.ValuesReference{plain("web"), secret("db")}, objects.read)
	if err != nil {
		t.Fatal(err)
	}
	check := func(manifest string) error {
		t.Helper()
		parsed, err := content.Parse([]content.File{{Name: "a.yaml", Data: []byte(manifest)}}, content.Options{Ref: func(_, name, key string, _ []byte) string { return name + key }})
		if err != nil {
			t.Fatal(err)
		}
		return v.Check(parsed.Bundle)
	}
	shown := func(value string) string {
		return fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: web}, data: {a: x, url: %q}}", value)
	}
	for name, value := range map[string]string{
		"as it is": canary, "within a text": "postgres://user:" + canary + "@db", "as base64": base64.StdEncoding.EncodeToString([]byte(canary)),
		"within base64": base64.StdEncoding.EncodeToString([]byte("user:" + canary)), "as JSON": `{"password": "p\"ss w\u0026rd-7"}`,
		"in a URL": "postgres://user:p%22ss+w%26rd-7@db", "a key, indented": "  " + strings.ReplaceAll(key, "\n", "\n  "),
	} {
		if err := check(shown(value)); err == nil || !strings.Contains(err.Error(), "ConfigMap/web: data.url shows a value of a Secret") || strings.Contains(err.Error(), "rd-7") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := check("{apiVersion: v1, kind: ConfigMap, metadata: {name: web, annotations: {" + `"p\"ss w&rd-7": a}}}`); err == nil || strings.Contains(err.Error(), "rd-7") {
		t.Errorf("as a key of a map: %v", err)
	}
	account := "{apiVersion: example.com/v1, kind: Account, metadata: {name: db}, spec: {pin: %s}}"
	if err := check(fmt.Sprintf(account, "83920174")); err == nil || !strings.Contains(err.Error(), "spec.pin shows a value of a Secret") {
		t.Errorf("as a number: %v", err)
	}
	for _, fine := range []string{
		fmt.Sprintf(account, "839201745"),
		shown("db.example.com:5432 gold -----BEGIN PRIVATE KEY-----"),
		fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {password: %q}}", canary),
	} {
		if err := check(fine); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
	if text := v.Mask("chart web: " + canary + fmt.Sprintf(" or %q", canary)); strings.Contains(text, "rd-7") || !strings.HasPrefix(text, "chart web: (hidden)") {
		t.Errorf("masked: %s", text)
	}
}

func TestASecretWithMoreStringsThanCanBeLookedForIsRefused(t *testing.T) {
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "key%d: value%d\n", i, i)
	}
	if _, err := valuesfrom.Merge([]v1alpha1.ValuesReference{secret("a")}, store{"Secret a": "values.yaml=" + text.String()}.read); err == nil || !strings.Contains(err.Error(), "put the rest into a ConfigMap") {
		t.Errorf("got %v", err)
	}
}
