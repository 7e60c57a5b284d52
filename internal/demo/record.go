package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"atoll.dev/atoll/internal/sandbox"
)

// record is what this demo started, in demo.json.
type record struct {
	// API and Agents are the hub's ports, as host:port; chosen once and kept,
	// because every agent has been told.
	API    string          `json:"api"`
	Agents string          `json:"agents"`
	Hub    sandbox.Process `json:"hub"`
}

func (d *Demo) recordPath() string { return filepath.Join(d.dir, "demo.json") }

// load is the record, and whether there is one.
func (d *Demo) load() (record, bool, error) {
	r := record{}
	data, err := os.ReadFile(d.recordPath())
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read the demo's record: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, false, fmt.Errorf("read the demo's record %s: %w", d.recordPath(), err)
	}
	return r, true, nil
}

// save replaces the record in one step: a reader never sees half of it.
func (d *Demo) save(r record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the demo's record: %w", err)
	}
	temp := d.recordPath() + ".new"
	if err := os.WriteFile(temp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the demo's record: %w", err)
	}
	return os.Rename(temp, d.recordPath())
}
