package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"atoll.dev/atoll/internal/apiserver/pki"
	"atoll.dev/atoll/internal/seal"
)

// refKey loads the key of secret references, or makes it.
func refKey(dataDir string) (seal.RefKey, error) {
	path := filepath.Join(dataDir, "pki", "references.key")
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		key, err := seal.ParseRefKey(data)
		if err != nil {
			return key, fmt.Errorf("read %s: %w", path, err)
		}
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return seal.RefKey{}, fmt.Errorf("read the key of secret references: %w", err)
	}
	key := seal.NewRefKey()
	if err := pki.WriteFile(path, key.Bytes()); err != nil {
		return key, fmt.Errorf("write the key of secret references: %w", err)
	}
	return key, nil
}
