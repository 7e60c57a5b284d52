package observed

import (
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

// MaxPacked is the size of a stored report, in bytes.
const MaxPacked = 16 << 10

var (
	// The window, not the data, decides what the encoder keeps in memory.
	packer, _   = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(16<<20))
)

// Pack compresses states into at most MaxPacked bytes. When everything does
// not fit, details go first, then the states that are well.
func Pack(states map[desired.Key]report.State) []byte {
	list := slices.SortedFunc(maps.Values(states), report.Worse)
	for i := range list {
		list[i].Drift, list[i].Problems = nil, list[i].Problems[:min(len(list[i].Problems), 3)]
	}
	for {
		data, err := cbor.Marshal(list)
		if err != nil {
			panic(fmt.Sprintf("encode %T: %v", list, err)) // only unencodable types fail, and ours are fixed
		}
		packed := packer.EncodeAll(data, nil)
		if len(packed) <= MaxPacked {
			return packed
		}
		list = list[:len(list)*3/4]
	}
}

// Unpack reads what Pack wrote.
func Unpack(data []byte) (map[desired.Key]report.State, error) {
	plain, err := unpacker.DecodeAll(data, nil)
	if err != nil {
		return nil, fmt.Errorf("read stored report: %w", err)
	}
	var list []report.State
	if err := cbor.Unmarshal(plain, &list); err != nil {
		return nil, fmt.Errorf("read stored report: %w", err)
	}
	states := make(map[desired.Key]report.State, len(list))
	for _, s := range list {
		states[s.Key] = s
	}
	return states, nil
}
