// Package chaos_test lets chance loose on a small fleet and looks whether the
// promises hold: a real hub in a process of its own, and real agents over
// members in memory, whose links pass through lines that can be cut.
//
// A seed decides which operations follow each other and how long the pauses
// between them are; what they meet in the fleet is a matter of timing, so a seed
// repeats what was done, and not every interleaving. ATOLL_CHAOS is how many
// seeds to run, ATOLL_CHAOS_SEED the first of them and ATOLL_CHAOS_LANES how many
// hubs share them; `make chaos` sets all three.
package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// steps are how many operations one seed makes.
const steps = 40

func TestRandomFaults(t *testing.T) {
	if os.Getenv("ATOLL_CHAOS") == "" {
		t.Skip("set ATOLL_CHAOS to how many seeds to run, or: make chaos")
	}
	program := hubProgram(t)
	first, count, lanes := number(t, "ATOLL_CHAOS_SEED", 1), number(t, "ATOLL_CHAOS", 1), number(t, "ATOLL_CHAOS_LANES", 1)
	for lane := range lanes {
		t.Run(fmt.Sprintf("hub %d", lane+1), func(t *testing.T) {
			t.Parallel()
			h := startHub(t, program)
			for seed := first + lane; seed < first+count; seed += lanes {
				t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { runSeed(t, h, seed) })
				if err := h.revive(t.Context()); err != nil {
					t.Fatalf("there is no hub for further seeds: %v", err)
				}
			}
		})
	}
}

func hubProgram(t *testing.T) string {
	t.Helper()
	program, err := filepath.Abs("../../bin/atoll")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("ATOLL_E2E_REQUIRED") != "" {
			t.Fatal("there is no bin/atoll; make it with: make build")
		}
		t.Skip("there is no bin/atoll; make it with: make build")
	}
	return program
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: give a number of at least 1", variable, text)
	}
	return n
}

// runSeed is one fleet's life.
func runSeed(t *testing.T, h *lonelyHub, seed int) {
	script := generate(seed, steps)
	f := newFleet(t, h, seed, script)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, the operations:\n%s", seed, f.journal())
			t.Logf("what the hub says of it:\n%s", f.hubView())
			t.Logf("repeat it with: make chaos SEED=%d N=1", seed)
		}
	}()
	for i, op := range script.operations {
		f.carryOut(i, op)
		if t.Failed() {
			return
		}
	}
	f.heal()
	f.settle()
	f.rest()
	t.Logf("seed %d: %s", seed, f.tally())
}
