package seal_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/seal"
)

var _ content.RefFunc = seal.RefKey{}.Ref

func newKey(t *testing.T) seal.Key {
	t.Helper()
	k, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOnlyTheRightClusterOpensAValueAndOnlyAsItself(t *testing.T) {
	mine, other := newKey(t), newKey(t)
	info := seal.Info{Cluster: "eu-1", Ref: "hmac-sha256:aa"}
	sealed, err := seal.Seal(mine.Public(), info, []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := mine.Open(info, sealed); err != nil || string(plain) != "value" {
		t.Fatalf("got %q, %v", plain, err)
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another cluster's key":  func() ([]byte, error) { return other.Open(info, sealed) },
		"another cluster's name": func() ([]byte, error) { return mine.Open(seal.Info{Cluster: "eu-2", Ref: info.Ref}, sealed) },
		"another value":          func() ([]byte, error) { return mine.Open(seal.Info{Cluster: "eu-1", Ref: "hmac-sha256:ab"}, sealed) },
		"shifted boundaries":     func() ([]byte, error) { return mine.Open(seal.Info{Cluster: "eu-1h", Ref: "mac-sha256:aa"}, sealed) },
		"a flipped bit":          func() ([]byte, error) { return mine.Open(info, flipped) },
		"a cut value":            func() ([]byte, error) { return mine.Open(info, sealed[:20]) },
		"nothing":                func() ([]byte, error) { return mine.Open(info, nil) },
	} {
		if plain, err := open(); err == nil {
			t.Errorf("%s opened it: %q", name, plain)
		} else if strings.Contains(err.Error(), "value\"") {
			t.Errorf("%s: the error quotes the value: %v", name, err)
		}
	}
}

func TestSealingIsRandomAndHoldsNothingInClear(t *testing.T) {
	k := newKey(t)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 8, 4096).Draw(t, "plain")
		info := seal.Info{Cluster: rapid.String().Draw(t, "cluster"), Ref: rapid.String().Draw(t, "ref")}
		a, errA := seal.Seal(k.Public(), info, plain)
		b, errB := seal.Seal(k.Public(), info, plain)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if bytes.Equal(a, b) || bytes.Contains(a, plain) {
			t.Fatal("sealing is not random, or not sealing")
		}
		if got, err := k.Open(info, a); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("got %x, %v", got, err)
		}
	})
}

func TestAKeySurvivesItsStoreAndPrintsNothing(t *testing.T) {
	k := newKey(t)
	data, err := k.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, err := seal.ParseKey(data)
	if err != nil || again.Public() != k.Public() {
		t.Fatalf("got %v, %v; want %v", again, err, k)
	}
	refKey := seal.NewRefKey()
	for _, printed := range []string{fmt.Sprintf("%v %+v %#v %x", k, k, k, k), fmt.Sprintf("%v %+v %#v", refKey, refKey, refKey)} {
		for _, private := range [][]byte{data, refKey.Bytes()} {
			if strings.Contains(printed, hex.EncodeToString(private)) || strings.Contains(printed, fmt.Sprint(private)) {
				t.Errorf("the private key is printed: %s", printed)
			}
		}
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	for name, public := range map[string]string{
		"nothing": "", "no base64": "???", "too short": "AAAA",
	} {
		if err := seal.CheckPublic(public); err == nil {
			t.Errorf("%s was taken for a key", name)
		}
		if _, err := seal.Seal(public, seal.Info{Cluster: "eu-1"}, nil); err == nil || !strings.Contains(err.Error(), "seal for cluster eu-1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	zero := strings.Repeat("A", 43) + "=" // the point of low order that gives everyone one secret
	if _, err := seal.Seal(zero, seal.Info{}, nil); err == nil {
		t.Error("sealed to a point of low order")
	}
	if _, err := seal.ParseKey([]byte("short")); err == nil {
		t.Error("a short private key was read")
	}
	if _, err := seal.ParseRefKey([]byte("short")); err == nil {
		t.Error("a short reference key was read")
	}
}

func TestAReferenceNamesPlaceAndValue(t *testing.T) {
	k := seal.NewRefKey()
	seen := map[string]string{}
	for _, c := range []struct{ namespace, name, key, value string }{
		{"a", "b", "c", "d"}, {"", "b", "c", "d"}, {"ab", "", "c", "d"}, {"a", "b", "cd", ""}, {"a", "b", "c", "e"},
	} {
		ref := k.Ref(c.namespace, c.name, c.key, []byte(c.value))
		if len(ref) != len(seal.RefPrefix)+64 {
			t.Errorf("malformed reference %q", ref)
		}
		if before, ok := seen[ref]; ok {
			t.Errorf("%v and %s share a reference", c, before)
		}
		seen[ref] = fmt.Sprint(c)
		if again := k.Ref(c.namespace, c.name, c.key, []byte(c.value)); again != ref {
			t.Error("references are not stable")
		}
		if seal.NewRefKey().Ref(c.namespace, c.name, c.key, []byte(c.value)) == ref {
			t.Error("the reference does not depend on the key")
		}
	}
	parsed, err := seal.ParseRefKey(k.Bytes())
	if err != nil || parsed.Ref("a", "b", "c", []byte("d")) != k.Ref("a", "b", "c", []byte("d")) {
		t.Errorf("a stored key names differently: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	k, err := seal.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("eu-1", "hmac-sha256:aa", []byte("sealed"))
	f.Fuzz(func(t *testing.T, cluster, ref string, sealed []byte) {
		if plain, err := k.Open(seal.Info{Cluster: cluster, Ref: ref}, sealed); err == nil {
			t.Fatalf("forged bytes opened to %q", plain)
		}
	})
}
