// Package backup is the file that a hub is restored from: what it looks like,
// whether it is whole, and whether it is this hub's. It decides nothing about
// what belongs into it or what a restored hub may do; that is internal/hub's.
//
// A backup is a tar archive: a header that every version understands, parts, a
// manifest with the size and digest of each part, and the manifest's MAC under a
// key of the hub's. So a file that was cut, mixed with another or changed by
// somebody without that key is refused, and plain tools can look inside.
package backup

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
)

// Format is what this version writes, and the highest that it reads.
const Format = 1

// Entries of the archive, in their order; parts lie between.
const (
	headerName   = "atoll-backup.json"
	manifestName = "manifest.json"
	macName      = "manifest.mac"
)

// Folders and names of parts.
const (
	// StorePart begins the names of parts with records of the store.
	StorePart = "store/"
	// ContentPart begins content/PROJECT/HEX of the SHA-256.
	ContentPart = "content/"
	// KeysPart are the hub's keys, encrypted with a passphrase.
	KeysPart = "keys.sealed"
)

// MaxPart bounds what one part may have, in bytes; a reader holds one at a time.
const MaxPart = 320 << 20

const (
	maxManifest = 64 << 20
	maxParts    = 1 << 20
)

// Errors that callers tell apart.
var (
	// ErrForeign says that the file is no backup at all.
	ErrForeign = errors.New("this is no backup of a hub")
	// ErrTruncated says that the file ends too soon.
	ErrTruncated = errors.New("the backup ends too soon: it was cut, or never finished")
	// ErrNewer says that a later version wrote it.
	ErrNewer = errors.New("the backup is of a newer format: use the version of atoll that made it, or a later one")
	// ErrDamaged says that it is not as it was written.
	ErrDamaged = errors.New("the backup is damaged")
)

// header is frozen: every version reads it.
type header struct {
	Format  int    `json:"format"`
	Version string `json:"version"`
}

// Manifest says what a backup is of.
type Manifest struct {
	// Version is of the atoll that made it.
	Version string `json:"version"`
	// Made is when the store was read.
	Made time.Time `json:"made"`
	// Incarnation and Term are those of the hub when it was backed up; a restored
	// one has others.
	Incarnation string `json:"incarnation"`
	Term        string `json:"term"`
	// Revision is the store's, which all records are of.
	Revision int64 `json:"revision"`
	Records  int   `json:"records"`
	Clusters int   `json:"clusters"`
	Contents int   `json:"contents"`
	// ContentElsewhere is where content lies that is not in the file.
	ContentElsewhere string `json:"contentElsewhere,omitempty"`
	// Missing are contents that the store names and the hub did not have.
	Missing []string `json:"missing,omitempty"`
	// Keys are the fingerprints of the hub's keys by name.
	Keys map[string][]string `json:"keys"`
	// Parts are in the order of the file.
	Parts []Part `json:"parts"`
}

// Part is one entry between header and manifest.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func partOf(name string, data []byte) Part {
	sum := sha256.Sum256(data)
	return Part{Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

// mac is of a manifest as it stands in the file.
func mac(key, manifest []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("atoll.dev/backup/v0\x00"))
	h.Write(manifest)
	return h.Sum(nil)
}
