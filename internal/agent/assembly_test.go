package agent

import (
	"bytes"
	"testing"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/wire"
)

func TestPiecesBecomeTheContentWithAllItsValues(t *testing.T) {
	data := []byte("some content")
	d := desired.Sum(data)
	p := &assembly{limit: 100}
	if ask := p.begin([]desired.Digest{d}); len(ask) != 1 {
		t.Fatal("it is not asked for")
	}
	if ask := p.begin([]desired.Digest{d}); len(ask) != 0 {
		t.Fatal("it is asked for twice")
	}
	size := int64(len(data))
	for i, piece := range []*wire.Content{
		{Digest: d, Size: size, Values: []wire.SealedValue{{Ref: "1"}}},
		{Digest: d, Size: size, Values: []wire.SealedValue{{Ref: "2"}}},
		{Digest: d, Size: size, Data: data[:5]},
		{Digest: d, Size: size, Offset: 5, Data: data[5:], Values: []wire.SealedValue{{Ref: "3"}}},
	} {
		done, err := p.add(piece)
		if err != nil || (done != nil) != (i == 3) {
			t.Fatalf("piece %d: %v, %v", i, done, err)
		}
		if done != nil && (!bytes.Equal(done.data, data) || len(done.values) != 3) {
			t.Errorf("got %q with %d values", done.data, len(done.values))
		}
	}
	if ask := p.begin([]desired.Digest{d}); len(ask) != 1 {
		t.Error("it cannot be asked for again")
	}
}

func TestPiecesThatDoNotFitAreRefused(t *testing.T) {
	d := desired.Sum([]byte("x"))
	for name, piece := range map[string]*wire.Content{
		"not asked for":               {Digest: desired.Sum(nil), Size: 1, Data: []byte("x")},
		"missing at the hub":          {Digest: d, Missing: "gone"},
		"larger than any":             {Digest: d, Size: 1 << 40, Data: []byte("x")},
		"a negative size":             {Digest: d, Size: -1, Data: []byte("x")},
		"of nothing":                  {Digest: d, Size: 1},
		"with a gap":                  {Digest: d, Size: 2, Offset: 1, Data: []byte("x")},
		"beyond its size":             {Digest: d, Size: 1, Data: []byte("xy")},
		"an offset that wraps around": {Digest: d, Size: 1, Offset: 1<<63 - 1, Data: []byte("x")},
		"another content":             {Digest: d, Size: 1, Data: []byte("y")},
		"values without end":          {Digest: d, Size: 1, Values: []wire.SealedValue{{Sealed: make([]byte, 101)}}},
	} {
		p := &assembly{limit: 100}
		p.begin([]desired.Digest{d})
		if done, err := p.add(piece); err == nil {
			t.Errorf("%s: got %v", name, done)
		}
	}
}

// Whatever the pieces are, nothing comes out but what was asked for, and no
// more is held than the limit.
func FuzzAssembly(f *testing.F) {
	f.Add(int64(3), int64(0), []byte("abc"), int64(3), []byte("def"))
	f.Add(int64(6), int64(0), []byte("abc"), int64(3), []byte("def"))
	f.Fuzz(func(t *testing.T, size, offset1 int64, data1 []byte, offset2 int64, data2 []byte) {
		want := append(bytes.Clone(data1), data2...)
		d := desired.Sum(want)
		p := &assembly{limit: 1 << 10}
		p.begin([]desired.Digest{d})
		for _, c := range []*wire.Content{{Digest: d, Size: size, Offset: offset1, Data: data1}, {Digest: d, Size: size, Offset: offset2, Data: data2}} {
			done, err := p.add(c)
			if err == nil && done != nil && !bytes.Equal(done.data, want) && desired.Sum(done.data) != d {
				t.Fatalf("%q came out", done.data)
			}
			if a := p.pending[d]; a != nil && int64(len(a.data)) > p.limit {
				t.Fatalf("%d bytes are held", len(a.data))
			}
		}
	})
}
