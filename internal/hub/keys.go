package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/apiserver/pki"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/seal"
	"atoll.dev/atoll/internal/trust"
)

// keys are the hub's own, beside those of its API.
type keys struct {
	refs seal.RefKey
	ca   *trust.CA
}

// openKeys loads the keys in dir and makes those that are missing.
func openKeys(dir string) (keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return keys{}, fmt.Errorf("make the keys' directory: %w", err)
	}
	release, err := lockKeys(dir)
	if err != nil {
		return keys{}, err
	}
	defer release()
	if err := apiserver.MakeKeys(dir); err != nil {
		return keys{}, err
	}
	var k keys
	if k.refs, err = refKey(dir); err != nil {
		return keys{}, err
	}
	k.ca, err = trust.OpenCA(dir, clock.Now)
	return k, err
}

// lockKeys makes hubs that start at once on new shared keys wait for each
// other. Where files cannot be locked, as on some read-only mounts, there is
// nothing to make either.
func lockKeys(dir string) (release func(), err error) {
	held, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the keys' directory: %w", err)
	}
	_ = syscall.Flock(int(held.Fd()), syscall.LOCK_EX)
	return func() { _ = held.Close() }, nil // nothing was written to it
}

// fingerprints are of what must be the same on all hubs of a store: the key of
// references, and the first root that the agents' authority announced, which
// every later one descends from.
func (k keys) fingerprints() apiserver.Fingerprints {
	return apiserver.Fingerprints{
		"references": {apiserver.Fingerprint(k.refs.Bytes())},
		"agents":     {apiserver.Fingerprint([]byte(k.ca.Roots().Announcements[0].Root))},
	}
}

// refKey loads the key of secret references, or makes it.
func refKey(dir string) (seal.RefKey, error) {
	path := filepath.Join(dir, "references.key")
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
