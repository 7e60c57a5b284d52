package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// Machine says what a figure was measured on, and names nothing that is
// private to it.
type Machine struct {
	Cores    int    `json:"cores"`
	MemoryMB int64  `json:"memoryMB"`
	CPU      string `json:"cpu"`
	Go       string `json:"go"`
}

// Result is one figure beside its raw limit: the same work by the plainest
// client, in the same run.
type Result struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Limit is 0 where there is nothing to compare with; Ratio then is, too.
	Limit float64 `json:"limit"`
	Ratio float64 `json:"ratio"`
	// Aim is what the design asks for, in words.
	Aim     string    `json:"aim"`
	Date    time.Time `json:"date"`
	Machine Machine   `json:"machine"`
	// Ours and Raw are the samples behind Value and Limit, where there are any.
	Ours *Distribution `json:"ours,omitempty"`
	Raw  *Distribution `json:"raw,omitempty"`
	// Notes are further figures of the run, by name.
	Notes map[string]float64 `json:"notes,omitempty"`
}

// Complete rounds to what can be meant, and sets the ratio.
func (r Result) Complete() Result {
	if r.Limit != 0 {
		r.Ratio = significant(r.Value / r.Limit)
	}
	r.Value, r.Limit = significant(r.Value), significant(r.Limit)
	return r
}

// significant keeps three digits.
func significant(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	scale := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// Write stores a result as NAME.json in dir, which is made. The file is
// replaced as a whole.
func Write(dir string, r Result) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the result %s: %w", r.Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the result %s: %w", r.Name, err)
	}
	path := filepath.Join(dir, r.Name+".json")
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the result %s: %w", r.Name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the result %s: %w", r.Name, err)
	}
	return nil
}

// Table prints results for people.
func Table(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tVALUE\tRAW LIMIT\tUNIT\tRATIO\tAIM\tSAMPLES")
	for _, r := range results {
		limit, ratio, samples := "-", "-", "-"
		if r.Limit != 0 {
			limit, ratio = fmt.Sprintf("%g", r.Limit), fmt.Sprintf("%.3g", r.Ratio)
		}
		if r.Ours != nil {
			samples = fmt.Sprint(r.Ours.Samples)
		}
		fmt.Fprintf(t, "%s\t%g\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Value, limit, r.Unit, ratio, r.Aim, samples)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	return nil
}
