package testfleet

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"atoll.dev/atoll/internal/sandbox"
)

// RequiredVariable, set to anything, makes missing programs fail a test
// instead of skipping it: for machines whose green must mean something.
const RequiredVariable = "ATOLL_E2E_REQUIRED"

// Program is the path of a program in the module's bin.
func Program(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path := filepath.Join(dir, "bin", name)
			if _, err := os.Stat(path); err != nil {
				return "", fmt.Errorf("%s is not built: run `make build`", name)
			}
			return path, nil
		}
		if filepath.Dir(dir) == dir {
			return "", fmt.Errorf("%s lies in bin of the module, and this is outside of it", name)
		}
		dir = filepath.Dir(dir)
	}
}

// requirePrograms skips the test when something is not built.
func requirePrograms(t testing.TB) {
	t.Helper()
	for _, name := range []string{"atoll", "atoll-agent", "atoll-sandbox"} {
		if name == "atoll-sandbox" && os.Getenv(sandbox.BinaryVariable) != "" {
			continue
		}
		if _, err := Program(name); err != nil {
			if os.Getenv(RequiredVariable) != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}
