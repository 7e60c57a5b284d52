package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// One file holds the whole authority, so that a rotation is one rename.
func caPath(dir string) string { return filepath.Join(dir, "authority.json") }

type caFile struct {
	Sequence      uint64         `json:"sequence"`
	Current       authorityFile  `json:"current"`
	Next          authorityFile  `json:"next"`
	Retired       []retiredFile  `json:"retired,omitempty"`
	Announcements []Announcement `json:"announcements"`
}

type authorityFile struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

type retiredFile struct {
	Certificate string    `json:"certificate"`
	Until       time.Time `json:"until"`
}

// load reports whether there was an authority.
func (ca *CA) load() (bool, error) {
	data, err := os.ReadFile(ca.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var f caFile
	if err := json.Unmarshal(data, &f); err != nil {
		return false, fmt.Errorf("read %s: %w", ca.path, err)
	}
	if ca.current, err = f.Current.open(); err != nil {
		return false, fmt.Errorf("read %s: current root: %w", ca.path, err)
	}
	if ca.next, err = f.Next.open(); err != nil {
		return false, fmt.Errorf("read %s: next root: %w", ca.path, err)
	}
	for _, r := range f.Retired {
		cert, err := parseCertificate(r.Certificate)
		if err != nil {
			return false, fmt.Errorf("read %s: retired root: %w", ca.path, err)
		}
		ca.retired = append(ca.retired, retiredRoot{cert: cert, until: r.Until})
	}
	if len(f.Announcements) == 0 {
		return false, fmt.Errorf("read %s: it announces no root", ca.path)
	}
	ca.sequence, ca.announcements = f.Sequence, f.Announcements
	return true, nil
}

func (ca *CA) save() error {
	f := caFile{Sequence: ca.sequence, Announcements: ca.announcements}
	var err error
	if f.Current, err = ca.current.file(); err != nil {
		return err
	}
	if f.Next, err = ca.next.file(); err != nil {
		return err
	}
	for _, r := range ca.retired {
		f.Retired = append(f.Retired, retiredFile{Certificate: encodeCertificate(r.cert.Raw), Until: r.until.UTC()})
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encode authority: %w", err)
	}
	return writePrivate(ca.path, append(data, '\n'))
}

func (a *authority) file() (authorityFile, error) {
	key, err := encodeKey(a.key)
	return authorityFile{Certificate: encodeCertificate(a.cert.Raw), Key: key}, err
}

func (f authorityFile) open() (*authority, error) {
	cert, err := parseCertificate(f.Certificate)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(f.Key)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("the key is not the certificate's")
	}
	return &authority{cert: cert, key: key}, nil
}

// writePrivate replaces a file that only its owner reads: whole or not at all.
func writePrivate(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".authority-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name()) // the error before it matters more
		}
	}()
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
