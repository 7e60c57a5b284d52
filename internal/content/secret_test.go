package content_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/content"
)

const canary = "canary-4f1c-value"

func secretText() string {
	return `
apiVersion: v1
kind: Secret
metadata:
  name: db
  namespace: shop
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{"stringData":{"p":"` + canary + `"}}'
type: Opaque
data: {user: ` + base64.StdEncoding.EncodeToString([]byte(canary+"-user")) + `, p: b2xk}
stringData: {p: ` + canary + `}
`
}

func TestSecretValuesAreSplitOutAndPutBack(t *testing.T) {
	p := parse(t, secretText())
	object := p.Bundle.Objects[0]
	if diff := cmp.Diff(map[string]string{
		"p":    testRef("shop", "db", "p", []byte(canary)),
		"user": testRef("shop", "db", "user", []byte(canary+"-user")),
	}, object.Values); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
	stored := map[string][]byte{}
	for _, v := range p.Values {
		stored[v.Ref] = v.Value
	}
	decoded, err := content.Decode(p.Bundle.Encode())
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decoded.Resolve(nil, func(ref string) ([]byte, error) { return stored[ref], nil })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"name": "db", "namespace": "shop", "annotations": map[string]any{}},
		"data": map[string]any{
			"p":    base64.StdEncoding.EncodeToString([]byte(canary)),
			"user": base64.StdEncoding.EncodeToString([]byte(canary + "-user")),
		},
	}
	if diff := cmp.Diff(want, objects[0].Object); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
}

func TestNoSecretValueIsInWhatIsStoredPrintedOrRefused(t *testing.T) {
	p := parse(t, secretText())
	seen := map[string]string{
		"the encoded bundle": string(p.Bundle.Encode()),
		"a printed value":    fmt.Sprintf("%v %+v %#v %s", p.Values, p.Values[0], p.Values[0], p.Values[0]),
		"the warnings":       fmt.Sprint(p.Warnings),
		"the whole":          fmt.Sprintf("%+v", p),
	}
	for name, broken := range map[string]string{
		"invalid base64":                    "data: {p: '" + canary + "%'}",
		"a number":                          "stringData: {p: 5, q: " + canary + "}",
		"a list":                            "stringData: [" + canary + "]",
		"a key twice":                       "stringData:\n  p: " + canary + "\n  p: " + canary,
		"broken YAML":                       "stringData:\n  p: " + canary + "\n bad",
		"an alias":                          "stringData: {p: *" + canary + "}",
		"an alias, and an anchor elsewhere": "type: &a Opaque\nstringData: {p: *" + canary + "}",
		"a tag":                             "stringData: {p: !!int " + canary + "}",
		"a key of no type":                  "stringData: {~: " + canary + "}",
		"a list as key":                     "stringData: {? [" + canary + "] : " + canary + "}",
		"an unknown field":                  "stringdata: {p: " + canary + "}",
		"a kind in small letters":           "",
		"no reference key":                  "stringData: {p: " + canary + "}",
	} {
		options := content.Options{Ref: testRef}
		if name == "no reference key" {
			options.Ref = nil
		}
		kind := "Secret"
		if name == "a kind in small letters" {
			kind, broken = "secret", "stringData: {p: "+canary+"}"
		}
		text := "apiVersion: v1\nkind: " + kind + "\nmetadata: {name: s}\n" + broken
		_, err := content.Parse([]content.File{{Name: "f", Data: []byte(text)}}, options)
		if err == nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		seen["the error for "+name] = err.Error()
	}
	forms := []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))[:20]}
	for where, text := range seen {
		for _, form := range forms {
			if strings.Contains(text, form) {
				t.Errorf("%s holds the value: %.300s", where, text)
			}
		}
	}
}

func TestAValueThatIsMissingNamesItsSecret(t *testing.T) {
	p := parse(t, secretText())
	_, err := p.Bundle.Resolve(nil, func(string) ([]byte, error) { return nil, errors.New("not delivered yet") })
	want := "Secret/db in shop: data[p]: not delivered yet\nSecret/db in shop: data[user]: not delivered yet"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
