package backup

import (
	"archive/tar"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// partName has no "..", no leading slash and nothing else that leads out of a
// directory.
var partName = regexp.MustCompile(`^(keys\.sealed|store/[0-9]{6}|content/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[0-9a-f]{64})$`)

func validName(name string) bool { return partName.MatchString(name) }

// Backup is one that was read to its end and is whole.
type Backup struct {
	Manifest Manifest
	manifest []byte // as it stands in the file
	mac      []byte
}

// Genuine tells whether a hub with this key made the backup.
func (b *Backup) Genuine(key []byte) bool { return hmac.Equal(b.mac, mac(key, b.manifest)) }

// Same tells whether both were made by the same call: a file that is read twice
// may have been replaced between.
func (b *Backup) Same(other *Backup) bool {
	return string(b.manifest) == string(other.manifest) && string(b.mac) == string(other.mac)
}

// Read reads a backup to its end and hands out each part, in order. What the
// parts hold may be believed only after Read has returned without an error.
func Read(r io.Reader, part func(name string, data []byte) error) (*Backup, error) {
	t := &reader{tar: tar.NewReader(r), seen: map[string]bool{}}
	if err := t.header(); err != nil {
		return nil, err
	}
	for {
		name, data, err := t.entry(MaxPart)
		if err != nil {
			return nil, err
		}
		if name == manifestName {
			return t.finish(data)
		}
		if !validName(name) || t.seen[name] || len(t.parts) == maxParts {
			return nil, fmt.Errorf("%w: it holds %.100q where that does not belong", ErrDamaged, name)
		}
		t.seen[name] = true
		t.parts = append(t.parts, partOf(name, data))
		if err := part(name, data); err != nil {
			return nil, fmt.Errorf("read %s of the backup: %w", name, err)
		}
	}
}

type reader struct {
	tar   *tar.Reader
	parts []Part
	seen  map[string]bool
}

// header refuses what is no backup before anything else is believed.
func (t *reader) header() error {
	head, err := t.tar.Next()
	if err != nil || head.Name != headerName || head.Size > 4096 {
		return ErrForeign
	}
	data, err := io.ReadAll(t.tar)
	if err != nil {
		return ErrTruncated
	}
	var h header
	if err := json.Unmarshal(data, &h); err != nil || h.Format < 1 {
		return ErrForeign
	}
	if h.Format > Format {
		return fmt.Errorf("%w (format %d, made by atoll %.50s; this one reads %d)", ErrNewer, h.Format, h.Version, Format)
	}
	return nil
}

// entry is the next one, whole.
func (t *reader) entry(limit int64) (string, []byte, error) {
	head, err := t.tar.Next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "", nil, ErrTruncated
	case err != nil:
		return "", nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case head.Typeflag != tar.TypeReg || head.Size > limit:
		return "", nil, fmt.Errorf("%w: %.100q is no file of a backup", ErrDamaged, head.Name)
	}
	data, err := io.ReadAll(t.tar)
	if err != nil {
		return "", nil, fmt.Errorf("%w (in %.100s)", ErrTruncated, head.Name)
	}
	return head.Name, data, nil
}

// finish holds the parts against the manifest.
func (t *reader) finish(manifest []byte) (*Backup, error) {
	b := &Backup{manifest: manifest}
	if len(manifest) > maxManifest {
		return nil, fmt.Errorf("%w: its manifest has %d bytes", ErrDamaged, len(manifest))
	}
	if err := json.Unmarshal(manifest, &b.Manifest); err != nil {
		return nil, fmt.Errorf("%w: its manifest cannot be read: %w", ErrDamaged, err)
	}
	if len(b.Manifest.Parts) != len(t.parts) {
		return nil, fmt.Errorf("%w: it has %d parts, its manifest %d", ErrDamaged, len(t.parts), len(b.Manifest.Parts))
	}
	for i, want := range b.Manifest.Parts {
		if t.parts[i] != want {
			return nil, fmt.Errorf("%w: %s is not what was written", ErrDamaged, t.parts[i].Name)
		}
	}
	name, data, err := t.entry(1024)
	if err != nil {
		return nil, err
	}
	if name != macName {
		return nil, fmt.Errorf("%w: its manifest is not authenticated", ErrDamaged)
	}
	b.mac = data
	if _, err := t.tar.Next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	return b, nil
}
