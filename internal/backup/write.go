package backup

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Writer writes one backup. Nothing is a backup before Close has succeeded.
type Writer struct {
	tar   *tar.Writer
	parts []Part
}

// NewWriter begins a backup.
func NewWriter(w io.Writer, version string) (*Writer, error) {
	data, err := json.Marshal(header{Format: Format, Version: version})
	if err != nil {
		return nil, fmt.Errorf("begin a backup: %w", err)
	}
	b := &Writer{tar: tar.NewWriter(w)}
	return b, b.entry(headerName, data)
}

// Part adds one; each name once.
func (b *Writer) Part(name string, data []byte) error {
	if !validName(name) || len(data) > MaxPart || len(b.parts) == maxParts {
		return fmt.Errorf("back up %s of %d bytes: a backup has no place for it", name, len(data))
	}
	b.parts = append(b.parts, partOf(name, data))
	return b.entry(name, data)
}

// Close ends the backup with its manifest, whose Parts it fills in.
func (b *Writer) Close(m Manifest, key []byte) error {
	m.Parts = b.parts
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("end the backup: %w", err)
	}
	if err := b.entry(manifestName, data); err != nil {
		return err
	}
	if err := b.entry(macName, mac(key, data)); err != nil {
		return err
	}
	if err := b.tar.Close(); err != nil {
		return fmt.Errorf("end the backup: %w", err)
	}
	return nil
}

func (b *Writer) entry(name string, data []byte) error {
	// The epoch: the manifest says when, and equal contents give equal bytes.
	head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := b.tar.WriteHeader(head); err != nil {
		return fmt.Errorf("back up %s: %w", name, err)
	}
	if _, err := b.tar.Write(data); err != nil {
		return fmt.Errorf("back up %s: %w", name, err)
	}
	return nil
}
