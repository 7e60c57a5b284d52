package backup

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var key = []byte("a key that only one hub has")

type part struct {
	Name string
	Data string
}

func written(t interface{ Fatal(...any) }, m Manifest, parts ...part) []byte {
	var out bytes.Buffer
	w, err := NewWriter(&out, "v1")
	for _, p := range parts {
		err = errors.Join(err, w.Part(p.Name, []byte(p.Data)))
	}
	if err = errors.Join(err, w.Close(m, key)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func read(file []byte) ([]part, *Backup, error) {
	var parts []part
	b, err := Read(bytes.NewReader(file), func(name string, data []byte) error {
		parts = append(parts, part{name, string(data)})
		return nil
	})
	return parts, b, err
}

var digest = strings.Repeat("a1", 32)

func sample(t interface{ Fatal(...any) }) []byte {
	return written(t, Manifest{Version: "v1", Made: time.Unix(1e9, 0).UTC(), Incarnation: "one", Revision: 7},
		part{"store/000001", "records"}, part{"content/shop/" + digest, "content"}, part{KeysPart, "keys"})
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	parts, b, err := read(sample(t))
	want := []part{{"store/000001", "records"}, {"content/shop/" + digest, "content"}, {KeysPart, "keys"}}
	if diff := cmp.Diff(want, parts); err != nil || diff != "" {
		t.Fatalf("%v\n%s", err, diff)
	}
	if b.Manifest.Incarnation != "one" || b.Manifest.Revision != 7 || !b.Genuine(key) {
		t.Errorf("%+v", b.Manifest)
	}
	if b.Genuine([]byte("the key of another hub")) {
		t.Error("another hub's key passes for the one that made it")
	}
}

func TestABackupCutAnywhereIsRefused(t *testing.T) {
	file := sample(t)
	for n := range len(file) {
		_, _, err := read(file[:n])
		// Only zeros follow the last entry: what fills its block, and two blocks.
		if err == nil && len(file)-n < 3*512 {
			continue
		}
		if err == nil {
			t.Fatalf("the first %d of %d bytes pass for a backup", n, len(file))
		}
		if n > 1024 && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut after %d: %v", n, err)
		}
	}
}

func TestAByteChangedAnywhereIsNoticed(t *testing.T) {
	file := sample(t)
	before, _, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(file)-1).Draw(t, "at")
		changed := bytes.Clone(file)
		changed[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		parts, b, err := read(changed)
		if err == nil && b.Genuine(key) && !cmp.Equal(parts, before) {
			t.Fatalf("a change at %d went unnoticed: %v", at, parts)
		}
	})
}

func TestForeignNewerAndDisorderedFilesAreToldApart(t *testing.T) {
	newer := bytes.Replace(sample(t), []byte(`{"format":1,`), []byte(`{"format":2,`), 1)
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"an empty file":            {nil, ErrForeign},
		"some other file":          {[]byte(strings.Repeat("kind: ConfigMap\n", 100)), ErrForeign},
		"one of a newer version":   {newer, ErrNewer},
		"one part twice":           {written(t, Manifest{}, part{KeysPart, "1"}, part{KeysPart, "1"}), ErrDamaged},
		"something behind its end": {append(sample(t)[:len(sample(t))-1024], sample(t)...), ErrDamaged},
	} {
		if _, _, err := read(c.file); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w, err := NewWriter(&bytes.Buffer{}, "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../etc/passwd", "/store/000001", "content/../" + digest, "content/shop/x", "store/1"} {
		if w.Part(name, nil) == nil || validName(name) {
			t.Errorf("%q is taken for a part", name)
		}
	}
}

func TestRecordsComeBackInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type record struct{ Key, Value string }
		var want, got []record
		records := Records{Emit: func(_ int, data []byte) error {
			return EachRecord(data, func(key string, value []byte) error {
				got = append(got, record{key, string(value)})
				return nil
			})
		}}
		for i := range rapid.IntRange(0, 40).Draw(t, "records") {
			size := rapid.SampledFrom([]int{0, 1, 200, 700_000}).Draw(t, "size")
			r := record{fmt.Sprintf("/registry/%d", i), strings.Repeat(string(rune('a'+i%26)), size)}
			want = append(want, r)
			if err := records.Add(r.Key, []byte(r.Value)); err != nil {
				t.Fatal(err)
			}
		}
		if err := records.Flush(); err != nil || !cmp.Equal(want, got) {
			t.Fatalf("%d records of %d: %v", len(got), len(want), err)
		}
	})
}

func TestKeysOpenWithTheirPassphraseOnly(t *testing.T) {
	files := map[string][]byte{"authority.json": []byte("secret-of-the-authority"), "ca.key": []byte("x")}
	sealed, err := SealKeys([]byte("correct horse battery"), files)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret-of-the-authority")) {
		t.Error("a key can be read")
	}
	got, err := OpenKeys([]byte("correct horse battery"), sealed)
	if err != nil || !maps.EqualFunc(got, files, bytes.Equal) {
		t.Errorf("%v: %v", got, err)
	}
	if _, err := OpenKeys([]byte("correct horse batterz"), sealed); !errors.Is(err, ErrPassphrase) {
		t.Error(err)
	}
	if _, err := SealKeys([]byte("short"), files); err == nil {
		t.Error("a passphrase that is quickly guessed is taken")
	}
	led, err := SealKeys([]byte("correct horse battery"), map[string][]byte{"../ca.key": nil})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys([]byte("correct horse battery"), led); !errors.Is(err, ErrDamaged) {
		t.Errorf("a name that leads out of the directory: %v", err)
	}
}

func FuzzReadOnForeignFiles(f *testing.F) {
	f.Add(sample(f))
	f.Add(sample(f)[:3000])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		parts, b, err := read(file)
		if err != nil {
			return
		}
		if len(parts) != len(b.Manifest.Parts) {
			t.Fatalf("%d parts, %d in the manifest", len(parts), len(b.Manifest.Parts))
		}
		for i, p := range parts {
			if !validName(p.Name) || partOf(p.Name, []byte(p.Data)) != b.Manifest.Parts[i] {
				t.Fatalf("part %q was believed", p.Name)
			}
		}
	})
}

func FuzzEachRecordOnForeignParts(f *testing.F) {
	records := Records{Emit: func(_ int, data []byte) error { f.Add(data); return nil }}
	if err := errors.Join(records.Add("key", []byte("value")), records.Flush()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, part []byte) {
		total := 0
		_ = EachRecord(part, func(key string, value []byte) error { total += len(key) + len(value); return nil })
		if total > recordsSize+maxRecord+1<<11 {
			t.Fatalf("%d bytes of records", total)
		}
	})
}
