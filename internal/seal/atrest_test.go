package seal_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/seal"
)

func atRest(t *testing.T, secrets ...string) seal.AtRest {
	t.Helper()
	var keys [][]byte
	for _, s := range secrets {
		keys = append(keys, []byte(s))
	}
	a, err := seal.NewAtRest(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAValueAtRestIsReadableOnlyWithItsKeyAndInItsPlace(t *testing.T) {
	const old, newer = "the first key, long enough", "the second key, long enough"
	value := []byte("a value that nobody guesses")
	a := atRest(t, old)
	sealed := a.Seal("hub/values.1/password", value)
	if bytes.Contains(sealed, value) {
		t.Fatal("the value lies in clear")
	}
	if bytes.Equal(sealed, a.Seal("hub/values.1/password", value)) {
		t.Error("sealing twice gives the same bytes, so equal values can be told")
	}
	for what, c := range map[string]struct {
		keys  seal.AtRest
		place string
		opens bool
	}{
		"the same key":            {a, "hub/values.1/password", true},
		"a newer key before it":   {atRest(t, newer, old), "hub/values.1/password", true},
		"another key":             {atRest(t, newer), "hub/values.1/password", false},
		"the place of another":    {a, "hub/values.2/password", false},
		"another key of a Secret": {a, "hub/values.1/user", false},
	} {
		got, err := c.keys.Open(c.place, sealed)
		if opens := err == nil && bytes.Equal(got, value); opens != c.opens {
			t.Errorf("%s: opened is %t, %v", what, opens, err)
		}
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := a.Open("hub/values.1/password", sealed); err == nil {
		t.Error("a damaged value was opened")
	}
	if said := fmt.Sprintf("%v %+v %#v", a, a, a); strings.Contains(said, "AES") || strings.Contains(said, "ciphers") {
		t.Errorf("it prints %s", said)
	}
	for _, bad := range [][][]byte{nil, {[]byte("short")}} {
		if _, err := seal.NewAtRest(bad...); err == nil {
			t.Errorf("keys %q were taken", bad)
		}
	}
}

func FuzzOpenAtRest(f *testing.F) {
	a, err := seal.NewAtRest([]byte("a key that is long enough"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("place", []byte{})
	f.Add("place", []byte("no ciphertext"))
	f.Fuzz(func(t *testing.T, place string, sealed []byte) {
		if _, err := a.Open(place, sealed); err == nil {
			t.Error("what nobody sealed was opened")
		}
	})
}
