package hub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/apiserver/pki"
	"atoll.dev/atoll/internal/backup"
	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
)

// Restore makes a hub's data directory from a backup. Nothing is written before
// all of the file was read and found whole and this hub's.
//
// The hub that starts there has another incarnation, since its record is left
// out: agents hold what they have newer or more of. And every cluster must be
// confirmed: who was removed since, or replaced, the backup cannot know.
func (b Backup) Restore(ctx context.Context) (backup.Manifest, error) {
	if err := b.empty(); err != nil {
		return backup.Manifest{}, err
	}
	var sealed []byte
	whole, err := b.read(func(name string, data []byte) error {
		switch {
		case name == backup.KeysPart:
			sealed = data
		case strings.HasPrefix(name, backup.StorePart): // what cannot be unpacked is found now
			return backup.EachRecord(data, func(string, []byte) error { return nil })
		}
		return nil
	})
	if err != nil {
		return backup.Manifest{}, err
	}
	files, err := b.checkKeys(whole, sealed)
	if err != nil {
		return whole.Manifest, err
	}
	if err := b.write(ctx, whole, files); err != nil {
		return whole.Manifest, fmt.Errorf("%w; what was written is of no use: empty %s before the next try", err, b.DataDir)
	}
	return whole.Manifest, nil
}

// empty refuses to mix what is restored with anything.
func (b Backup) empty() error {
	entries, err := os.ReadDir(b.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore into %s: %w", b.DataDir, err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty (there is %s): restore into a new directory", b.DataDir, entries[0].Name())
	}
	return nil
}

func (b Backup) read(part func(name string, data []byte) error) (*backup.Backup, error) {
	file, err := os.Open(b.File)
	if err != nil {
		return nil, fmt.Errorf("read the backup: %w", err)
	}
	defer file.Close() //nolint:errcheck // Nothing was written.
	whole, err := backup.Read(file, part)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.File, err)
	}
	return whole, nil
}

// checkKeys finds the keys that fit the backup: in --keys, or sealed in the file,
// which are then returned.
func (b Backup) checkKeys(whole *backup.Backup, sealed []byte) (map[string][]byte, error) {
	var files map[string][]byte
	dir := b.Keys
	if dir == "" {
		var err error
		if files, err = b.openSealed(sealed); err != nil {
			return nil, err
		}
		if dir, err = os.MkdirTemp("", "atoll-restore-"); err != nil { // of mode 0700
			return nil, fmt.Errorf("look at the keys of the backup: %w", err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // Nothing that could be done about it.
		if err := writeKeyFiles(dir, files); err != nil {
			return nil, err
		}
	}
	keys, err := existingKeys(dir)
	if err != nil {
		return nil, err
	}
	if names := keys.prints.Differ(whole.Manifest.Keys); len(names) > 0 {
		return nil, fmt.Errorf("the keys in %s are not those of the hub that made this backup (%s differ): give its own with --keys", dir, strings.Join(names, ", "))
	}
	if !whole.Genuine(keys.refs.Bytes()) {
		return nil, fmt.Errorf("%s: %w: its manifest was not made by the hub with these keys", b.File, backup.ErrDamaged)
	}
	return files, nil
}

func (b Backup) openSealed(sealed []byte) (map[string][]byte, error) {
	switch {
	case sealed == nil:
		return nil, fmt.Errorf("%s holds no keys: give --keys DIR with a copy of those that the hub had", b.File)
	case len(b.Passphrase) == 0:
		return nil, fmt.Errorf("the keys in %s are encrypted: give --passphrase-file, or --keys DIR with a copy of them", b.File)
	}
	return backup.OpenKeys(b.Passphrase, sealed)
}

func writeKeyFiles(dir string, files map[string][]byte) error {
	for name, data := range files {
		if err := pki.WriteFile(filepath.Join(dir, name), data); err != nil {
			return fmt.Errorf("write the hub's keys: %w", err)
		}
	}
	return nil
}

// write reads the file a second time, and trusts it no more than the first.
func (b Backup) write(ctx context.Context, first *backup.Backup, keys map[string][]byte) error {
	pkiDir := filepath.Join(b.DataDir, "pki")
	if err := os.MkdirAll(pkiDir, 0o700); err != nil {
		return fmt.Errorf("restore into %s: %w", b.DataDir, err)
	}
	if err := writeKeyFiles(pkiDir, keys); err != nil {
		return err
	}
	r := restoring{ctx: ctx, made: first.Manifest.Made, contents: depot.Folder(cmp.Or(b.Content, filepath.Join(b.DataDir, "content")))}
	var err error
	if r.packer, err = blob.NewPacker(); err != nil {
		return err
	}
	return apiserver.FillStore(ctx, b.DataDir, first.Manifest.Revision, func(put func(string, []byte) error) error {
		r.put = put
		second, err := b.read(r.part)
		if err == nil && !second.Same(first) {
			err = fmt.Errorf("%s was replaced while it was read", b.File)
		}
		return err
	})
}

type restoring struct {
	ctx      context.Context
	made     time.Time
	contents depot.Stores
	packer   *blob.Packer
	put      func(key string, value []byte) error
}

func (r *restoring) part(name string, data []byte) error {
	switch {
	case strings.HasPrefix(name, backup.StorePart):
		return backup.EachRecord(data, r.record)
	case strings.HasPrefix(name, backup.ContentPart):
		project, sum, _ := strings.Cut(strings.TrimPrefix(name, backup.ContentPart), "/")
		digest := desired.Digest("sha256:" + sum)
		content, err := r.packer.Unpack(digest, data)
		if err != nil {
			return err
		}
		store, err := r.contents.Project(project)
		if err != nil {
			return err
		}
		return store.Put(r.ctx, digest, content)
	}
	return nil
}

// record leaves out what says which history this is and who led it.
func (r *restoring) record(key string, value []byte) error {
	switch {
	case key == recordKey || key == leaseKey:
		return nil
	case strings.HasPrefix(key, clustersKey):
		var err error
		if value, err = unconfirmed(value, r.made); err != nil {
			return fmt.Errorf("restore %s: %w", key, err)
		}
	}
	return r.put(key, value)
}

// unconfirmed marks a stored Cluster. It stays accepted and placed: a cluster
// that lost its place would be told to let go of what it runs.
func unconfirmed(stored []byte, made time.Time) ([]byte, error) {
	var object map[string]any
	exact := json.NewDecoder(bytes.NewReader(stored))
	exact.UseNumber()
	if err := exact.Decode(&object); err != nil {
		return nil, err
	}
	meta, ok := object["metadata"].(map[string]any)
	if !ok {
		return nil, errors.New("it has no metadata")
	}
	annotations, ok := meta["annotations"].(map[string]any)
	if !ok {
		annotations = map[string]any{}
	}
	delete(annotations, v1alpha1.AnnotationAcceptIncarnation)
	annotations[v1alpha1.AnnotationUnconfirmed] = made.UTC().Format(time.RFC3339)
	meta["annotations"] = annotations
	return json.Marshal(object)
}
