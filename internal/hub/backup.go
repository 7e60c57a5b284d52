package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/backup"
	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/blob/oci"
	"atoll.dev/atoll/internal/clock"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/rollout"
	"atoll.dev/atoll/internal/version"
)

// Backup says what is backed up, and restored into.
type Backup struct {
	File    string
	DataDir string
	// Keys and Content as the hub has them; default below DataDir.
	Keys, Content string
	// Passphrase encrypts the keys into the backup, or opens them; without one
	// they are not part of it.
	Passphrase []byte
	// Force lets a file be replaced.
	Force bool
}

// Where records lie in the store.
const (
	clustersKey     = "/atoll.dev/clusters/"
	revisionsKey    = "/atoll.dev/revisions/"
	applicationsKey = "/atoll.dev/applications/"
	rolloutRunsKey  = "/atoll.dev/rolloutruns/"
	recordKey       = "/configmaps/" + v1alpha1.SystemNamespace + "/" + recordName
	leaseKey        = "/leases/" + v1alpha1.SystemNamespace + "/" + recordName
)

// held is content that a record names.
type held struct {
	project string
	digest  desired.Digest
}

// Make writes the backup of a hub, which may run. The store is read at one
// revision and the content after it: a Revision names only what is durable.
func (b Backup) Make(ctx context.Context) (backup.Manifest, error) {
	m := backup.Manifest{Version: version.Version, Made: clock.Now().UTC()}
	keyDir := cmp.Or(b.Keys, filepath.Join(b.DataDir, "pki"))
	keys, err := existingKeys(keyDir)
	if err != nil {
		return m, err
	}
	m.Keys = keys.prints
	store, err := apiserver.OpenStoreCopy(ctx, b.DataDir)
	if errors.Is(err, apiserver.ErrNoStore) {
		return m, fmt.Errorf("%w: a hub that stores in an external etcd or in Kubernetes is backed up with their own means (etcdctl snapshot save, Velero), together with its keys and content", err)
	}
	if err != nil {
		return m, err
	}
	defer store.Close()
	m.Revision = store.Revision
	out, err := createFile(b.File, b.Force)
	if err != nil {
		return m, err
	}
	defer out.discard()
	w, err := backup.NewWriter(out, version.Version)
	if err != nil {
		return m, err
	}
	used, err := b.writeStore(ctx, w, store, &m)
	if err == nil {
		err = b.writeContent(ctx, w, used, &m)
	}
	if err == nil && len(b.Passphrase) > 0 {
		err = b.writeKeys(w, keyDir)
	}
	if err == nil {
		err = w.Close(m, keys.refs.Bytes())
	}
	if err != nil {
		return m, err
	}
	return m, out.commit()
}

// writeStore copies every record and notes what the manifest says of them.
func (b Backup) writeStore(ctx context.Context, w *backup.Writer, store *apiserver.StoreCopy, m *backup.Manifest) (map[held]bool, error) {
	records := backup.Records{Emit: func(n int, part []byte) error {
		return w.Part(fmt.Sprintf("%s%06d", backup.StorePart, n), part)
	}}
	used := map[held]bool{}
	err := store.Each(ctx, func(key string, value []byte) error {
		m.Records++
		if strings.HasPrefix(key, clustersKey) {
			m.Clusters++
		}
		if err := errors.Join(noteContent(used, key, value), noteRecord(m, key, value)); err != nil {
			return err
		}
		return records.Add(key, value)
	})
	if err = errors.Join(err, records.Flush()); err != nil {
		return nil, err
	}
	if m.Incarnation == "" {
		return nil, fmt.Errorf("back up the store in %s: no hub has ever led on it", b.DataDir)
	}
	return used, nil
}

// noteContent reads which content a record names.
func noteContent(used map[held]bool, key string, value []byte) error {
	switch {
	case strings.HasPrefix(key, revisionsKey):
		var r v1alpha1.Revision
		if err := json.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("read %s in the store: %w", key, err)
		}
		used[held{r.Namespace, desired.Digest(cmp.Or(r.Spec.Content, r.Spec.Digest))}] = true
		for _, v := range r.Spec.Variants {
			used[held{r.Namespace, desired.Digest(v.Content)}] = true
		}
	case strings.HasPrefix(key, applicationsKey):
		var app v1alpha1.Application
		if err := json.Unmarshal(value, &app); err != nil {
			return fmt.Errorf("read %s in the store: %w", key, err)
		}
		if c := app.Spec.Source.Content; c != nil {
			used[held{app.Namespace, desired.Digest(c.Digest)}] = true
		}
		if f := app.Status.Source; f != nil && f.Digest != "" {
			used[held{app.Namespace, desired.Digest(f.Digest)}] = true
			for _, v := range f.Variants {
				used[held{app.Namespace, desired.Digest(v.Content)}] = true
			}
		}
		for _, v := range app.Status.Variants {
			used[held{app.Namespace, desired.Digest(v.Content)}] = true
		}
	case strings.HasPrefix(key, rolloutRunsKey):
		var run v1alpha1.RolloutRun
		if err := json.Unmarshal(value, &run); err != nil {
			return fmt.Errorf("read %s in the store: %w", key, err)
		}
		for _, v := range rollout.Versions(&run.Spec.Plan) {
			for _, content := range rollout.Contents(v) {
				used[held{run.Namespace, desired.Digest(content)}] = true
			}
		}
	}
	return nil
}

// noteRecord reads which history the store is of.
func noteRecord(m *backup.Manifest, key string, value []byte) error {
	if key != recordKey {
		return nil
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	var record corev1.ConfigMap
	if _, _, err := serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(value, nil, &record); err != nil {
		return fmt.Errorf("read the hub's record in the store: %w", err)
	}
	m.Incarnation, m.Term = record.Data["incarnation"], record.Data["term"]
	return nil
}

// writeContent adds what is used and there. All of it missing means that the
// hub keeps it elsewhere.
func (b Backup) writeContent(ctx context.Context, w *backup.Writer, used map[held]bool, m *backup.Manifest) error {
	if strings.HasPrefix(b.Content, oci.Scheme) {
		m.ContentElsewhere = b.Content
		return nil
	}
	dir := cmp.Or(b.Content, filepath.Join(b.DataDir, "content"))
	packer, err := blob.NewPacker()
	if err != nil {
		return err
	}
	for _, c := range sorted(used) {
		data, err := readContent(ctx, dir, c)
		if errors.Is(err, blob.ErrMissing) || errors.Is(err, blob.ErrCorrupt) {
			m.Missing = append(m.Missing, c.project+"/"+string(c.digest))
			continue
		}
		if err != nil {
			return err
		}
		if err := w.Part(c.part(), packer.Pack(data)); err != nil {
			return err
		}
		m.Contents++
	}
	if len(m.Missing) > 0 && m.Contents == 0 {
		return fmt.Errorf("none of the %d contents that the store names is in %s: give --content as the hub has it", len(m.Missing), dir)
	}
	return nil
}

func readContent(ctx context.Context, dir string, c held) ([]byte, error) {
	if _, err := os.Stat(filepath.Join(dir, c.project)); err != nil {
		return nil, blob.ErrMissing // and no directory is made by looking
	}
	store, err := depot.Folder(dir).Project(c.project)
	if err != nil {
		return nil, err
	}
	return store.Get(ctx, c.digest)
}

func (c held) part() string {
	return backup.ContentPart + c.project + "/" + strings.TrimPrefix(string(c.digest), "sha256:")
}

func sorted(used map[held]bool) []held {
	all := make([]held, 0, len(used))
	for c := range used {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b held) int { return strings.Compare(a.part(), b.part()) })
	return all
}

func (b Backup) writeKeys(w *backup.Writer, dir string) error {
	files := map[string][]byte{}
	for _, name := range keyFiles {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("read the hub's keys: %w", err)
		}
		files[name] = data
	}
	sealed, err := backup.SealKeys(b.Passphrase, files)
	if err != nil {
		return err
	}
	return w.Part(backup.KeysPart, sealed)
}

// keyFiles are what must outlive a hub; everything else beside them is made
// from them.
var keyFiles = []string{"authority.json", "ca.crt", "ca.key", "references.key", "secrets.key", "service-accounts.key"}

// heldKeys are keys that are there, with fingerprints of all of them.
type heldKeys struct {
	keys
	prints apiserver.Fingerprints
}

// existingKeys makes none: a hub's backup under other keys would be of no use.
func existingKeys(dir string) (heldKeys, error) {
	for _, name := range keyFiles {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return heldKeys{}, fmt.Errorf("the hub's keys are not in %s: give --keys DIR with the keys that it has, or had: %w", dir, err)
		}
	}
	own, err := openKeys(dir)
	if err != nil {
		return heldKeys{}, err
	}
	k := heldKeys{keys: own}
	if k.prints, err = apiserver.KeyFingerprints(dir); err != nil {
		return k, err
	}
	for name, prints := range own.fingerprints() {
		k.prints[name] = prints
	}
	return k, nil
}
