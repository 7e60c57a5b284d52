package git

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

// element is an object of a pack as somebody hostile may write it.
type element struct {
	kind    byte
	stated  uint64 // its size as the header says
	back    uint64 // of a difference, how far before it its base begins
	content []byte
}

// packed is a pack with a right checksum around whatever it holds.
func packed(count uint32, elements ...element) []byte {
	var b bytes.Buffer
	b.WriteString("PACK")
	_ = binary.Write(&b, binary.BigEndian, []uint32{2, count})
	z := zlib.NewWriter(&b)
	for _, e := range elements {
		first, rest := e.kind<<4|byte(e.stated&15), e.stated>>4
		for rest > 0 {
			b.WriteByte(first | 0x80)
			first, rest = byte(rest&0x7f), rest>>7
		}
		b.WriteByte(first)
		if e.kind == 6 {
			digits := []byte{byte(e.back & 0x7f)}
			for back := e.back >> 7; back > 0; back >>= 7 {
				back--
				digits = append([]byte{0x80 | byte(back&0x7f)}, digits...)
			}
			b.Write(digits)
		}
		if e.kind == 7 {
			b.Write(make([]byte, 20))
		}
		z.Reset(&b)
		_, _ = z.Write(e.content)
		_ = z.Close()
	}
	sum := sha1.Sum(b.Bytes())
	b.Write(sum[:])
	return b.Bytes()
}

func blob(content string) element {
	return element{kind: 3, stated: uint64(len(content)), content: []byte(content)}
}

// size is of an element alone.
func size(e element) uint64 { return uint64(len(packed(1, e)) - 32) }

// takeIn does with a pack what a fetch does.
func takeIn(t *testing.T, pack []byte) error {
	t.Helper()
	limits := DefaultLimits
	limits.Pack, limits.Object, limits.Inflated, limits.Objects = 1<<20, 1<<16, 1<<20, 100_000
	dir := t.TempDir()
	f, err := receive(t.Context(), dir, bytes.NewReader(pack), source.Remote{}, limits)
	if err != nil {
		return err
	}
	defer discard(f)
	return newRepository(dir+"/repo", source.Remote{}).add(f)
}

func TestAPackThatLiesIsRefusedBeforeItIsBelieved(t *testing.T) {
	// 5 bytes to 6: copy all of the base, then add "!".
	difference := []byte{5, 6, 0x90, 5, 1, '!'}
	right := packed(2, blob("hello"), element{kind: 6, stated: uint64(len(difference)), back: size(blob("hello")), content: difference})
	if err := takeIn(t, right); err != nil {
		t.Fatalf("a pack that is right: %v", err)
	}
	// 300,000 bytes out of five.
	bomb := append([]byte{5, 0xe0, 0xa7, 0x12}, bytes.Repeat([]byte{0x90, 5}, 100)...)
	same := element{kind: 6, stated: 4, back: size(blob("x")), content: []byte{1, 1, 0x90, 1}}
	deep := []element{blob("x"), same}
	for same.back = size(same); len(deep) < maxChain+2; {
		deep = append(deep, same)
	}
	// Each object is as large as the first, and each is made of the one before.
	large := blob(strings.Repeat("x", 10_000))
	copied := element{kind: 6, stated: 7, back: size(large), content: []byte{0x90, 0x4e, 0x90, 0x4e, 0xb0, 0x10, 0x27}}
	long := []element{large, copied}
	for copied.back = size(copied); len(long) < 100; {
		long = append(long, copied)
	}
	for name, c := range map[string]struct {
		pack []byte
		why  string
	}{
		"differences that take long":            {packed(uint32(len(long)), long...), "takes too long"},
		"an object that is larger than it says": {packed(1, element{kind: 3, stated: 5, content: make([]byte, 1<<20)}), "larger than it says"},
		"one that is smaller":                   {packed(1, element{kind: 3, stated: 50, content: make([]byte, 5)}), "smaller than it says"},
		"one that says it is huge":              {packed(1, element{kind: 3, stated: 1 << 40, content: []byte("x")}), "MiB"},
		"one of a negative size":                {packed(1, element{kind: 3, stated: 1<<63 + 5, content: []byte("x")}), ""},
		"a difference that unfolds":             {packed(2, blob("hello"), element{kind: 6, stated: uint64(len(bomb)), back: size(blob("hello")), content: bomb}), "MiB"},
		"a difference to nothing":               {packed(2, blob("hello"), element{kind: 6, stated: 6, back: 3, content: difference}), "to nothing"},
		"one to before the pack":                {packed(2, blob("hello"), element{kind: 6, stated: 6, back: 1 << 40, content: difference}), ""},
		"differences without end":               {packed(uint32(len(deep)), deep...), "too deep"},
		"a difference to an object by its name": {packed(1, element{kind: 7, stated: 6, content: difference}), "type"},
		"fewer objects than it says":            {packed(9, blob("hello")), ""},
		"more objects than anybody has":         {packed(1<<31, blob("hello")), "objects"},
		"an object of no type":                  {packed(1, element{kind: 0, stated: 1, content: []byte("x")}), ""},
		"a checksum that is wrong":              {append(right[:len(right)-1:len(right)-1], right[len(right)-1]+1), ""},
		"no pack":                               {[]byte("<html>"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := takeIn(t, c.pack)
			var failure *source.Failure
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v; wanted words on %q", err, c.why)
			}
		})
	}
}

func TestWhatFailsTheSameWayIsSaidInTheSameWords(t *testing.T) {
	said := map[string]bool{}
	for port := range 3 {
		reset := &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: 50_000 + port}, Addr: &net.TCPAddr{Port: 443}, Err: errors.New("connection reset")}
		said[web.Unreached(source.Remote{}, fmt.Errorf("handshake: %w", reset)).Error()] = true
	}
	if len(said) != 1 {
		t.Errorf("%v", said)
	}
}

func FuzzPack(f *testing.F) {
	f.Add(uint32(2), byte(3), uint64(5), []byte("hello"), byte(6), uint64(6), uint64(14), []byte{5, 6, 0x90, 5, 1, '!'})
	f.Add(uint32(2), byte(2), uint64(30), []byte("100644 a\x0001234567890123456789"), byte(6), uint64(9), uint64(14), []byte{5, 0xe0, 0xa7, 0x12, 0x90, 5})
	f.Fuzz(func(t *testing.T, count uint32, kind byte, stated uint64, content []byte, kind2 byte, stated2, back uint64, content2 []byte) {
		_ = takeIn(t, packed(count%4, element{kind: kind & 7, stated: stated, content: content},
			element{kind: kind2 & 7, stated: stated2, back: back, content: content2}))
	})
}

func FuzzTarget(f *testing.F) {
	f.Add([]byte{5, 6})
	f.Fuzz(func(t *testing.T, delta []byte) {
		if size, err := target(delta); err == nil && size < 0 {
			t.Errorf("%x leads to %d bytes", delta, size)
		}
	})
}
