package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// BinaryVariable names the atoll-sandbox binary to run, where it is not
// bin/atoll-sandbox of the module that the working directory lies in.
const BinaryVariable = "ATOLL_SANDBOX_BIN"

// AgentsVariable names the folder whose atoll-agent-TAG and atoll-agent are run
// for pods with the agent's image, where it is not that of the sandbox's own
// binary. It is read when a cluster starts.
const AgentsVariable = "ATOLL_SANDBOX_AGENTS"

// ErrNoBinary means that atoll-sandbox has not been built.
var ErrNoBinary = errors.New("atoll-sandbox is not built: run `make build`, or set " + BinaryVariable)

// findBinary looks where BinaryVariable says; else it is this program, when
// that is atoll-sandbox, or the one in the module's bin.
func findBinary() (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", BinaryVariable, err)
		}
		return filepath.Abs(path)
	}
	if self, err := os.Executable(); err == nil && filepath.Base(self) == "atoll-sandbox" {
		return self, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return binaryIn(dir)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ErrNoBinary
		}
		dir = parent
	}
}

func binaryIn(module string) (string, error) {
	path := filepath.Join(module, "bin", "atoll-sandbox")
	if _, err := os.Stat(path); err != nil {
		return "", ErrNoBinary
	}
	return path, nil
}
