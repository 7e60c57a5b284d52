package apply

import (
	"context"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/drift"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/syncoption"
)

// Memory keeps inventories across restarts; internal/localstore is one. The
// engine saves often and in small batches: an implementation coalesces.
type Memory interface {
	// LoadInventories returns everything that was saved.
	LoadInventories(ctx context.Context) (map[desired.Key][]byte, error)
	// SaveInventories stores those given; a nil value forgets one.
	SaveInventories(ctx context.Context, changed map[desired.Key][]byte) error
}

// inventory is what one application owns in the member, and what a restart
// must know to neither repeat nor widen what was done.
type inventory struct {
	// UID is the Application's: another of the same name inherits nothing.
	UID     string   `cbor:"1,keyasint"`
	Records []record `cbor:"2,keyasint,omitempty"`
	// Pruning is how far the deletions of the present sync got.
	Pruning     pruning `cbor:"3,keyasint"`
	Corrections int64   `cbor:"4,keyasint,omitempty"`
	// Generation is the Application's of which the records are.
	Generation int64 `cbor:"6,keyasint,omitempty"`
	// Changes are the latest by others, newest last: a hub that is away hears of
	// them when it is back, from whichever agent acts then.
	Changes []report.Change `cbor:"5,keyasint,omitempty"`
	// Runs are the hooks that have begun.
	Runs []run `cbor:"7,keyasint,omitempty"`
	// Installing tells that no delivery was ever finished.
	Installing bool `cbor:"8,keyasint,omitempty"`
	// Installed is the content of the first that was, while it is what is delivered.
	Installed desired.Digest `cbor:"9,keyasint,omitempty"`
}

// record is one object we applied.
type record struct {
	ID      ID     `cbor:"1,keyasint"`
	Version string `cbor:"2,keyasint"`
	UID     string `cbor:"3,keyasint"`
	// Accepted is the hash of what the API server last accepted from us.
	Accepted uint64 `cbor:"4,keyasint,omitempty"`
	// GivenUp is the hash of the rules that were left out of it.
	GivenUp  uint64         `cbor:"5,keyasint,omitempty"`
	Baseline drift.Baseline `cbor:"6,keyasint"`
	// Keep says when the object stays, by what was applied last or, once somebody
	// wanted to delete it, by what stands on it.
	Keep syncoption.Keep `cbor:"7,keyasint,omitempty"`
}

// stays tells that the object is not deleted when it is no longer asked for.
func (r *record) stays(withdrawn bool) bool {
	switch {
	case r == nil:
		return false
	case withdrawn:
		return r.Keep&syncoption.WhenWithdrawn != 0
	}
	return r.Keep&syncoption.WhenPruned != 0
}

func (i inventory) encode() ([]byte, error) {
	slices.SortFunc(i.Records, func(a, b record) int { return a.ID.Compare(b.ID) })
	slices.SortFunc(i.Runs, func(a, b run) int { return a.ID.Compare(b.ID) })
	data, err := cbor.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("encode inventory: %w", err)
	}
	return data, nil
}

func decodeInventory(data []byte) (inventory, error) {
	var i inventory
	if err := cbor.Unmarshal(data, &i); err != nil {
		return inventory{}, fmt.Errorf("decode inventory: %w", err)
	}
	return i, nil
}

// Volatile is a Memory that lasts as long as the process: for a first start
// before the local store is open, and for tests.
type Volatile struct{ kept map[desired.Key][]byte }

// LoadInventories returns what this process saved.
func (v *Volatile) LoadInventories(context.Context) (map[desired.Key][]byte, error) {
	return v.kept, nil
}

// SaveInventories keeps the bytes.
func (v *Volatile) SaveInventories(_ context.Context, changed map[desired.Key][]byte) error {
	if v.kept == nil {
		v.kept = map[desired.Key][]byte{}
	}
	for k, data := range changed {
		if data == nil {
			delete(v.kept, k)
			continue
		}
		v.kept[k] = data
	}
	return nil
}
