// Package git fetches commits of Git repositories into a cache on the hub's
// disk: one for each repository and credential, shared by all applications that
// follow it. It speaks Git's own protocol over HTTPS and ssh, and runs no
// program. What a repository holds is foreign: everything is bounded, and
// nothing but regular files is written.
//
// What a reference means and which URLs there are is left to internal/source,
// which addresses may be dialled to internal/egress, and when to look to
// internal/controllers/source.
package git

import (
	"time"

	"atoll.dev/atoll/internal/source"
)

// Access is a repository and the right to read it.
type Access struct {
	Remote source.Remote
	// Credentials are whose; nil for a repository that everybody may read.
	Credentials *Credentials
	// Holder names the credentials, version included: what was fetched with them
	// is for those only who hold the same.
	Holder string
}

// Limits bound what a repository may cost.
type Limits struct {
	// Pack is how many bytes one fetch may bring, Object the size of one object,
	// Inflated that of all objects of a fetch.
	Pack, Object, Inflated int64
	Objects                uint32
	// Refs is how many bytes a server may list, Listed how many are remembered of
	// all servers' lists.
	Refs, Listed int64
	// Files and Bytes bound one checkout, File one file of it, Depth its folders.
	Files       int
	Bytes, File int64
	Depth       int
	// List and Fetch are how long a server may take.
	List, Fetch time.Duration
	// Repositories and Disk bound the whole cache, in number and bytes.
	Repositories int
	Disk         int64
}

// DefaultLimits are generous for manifests and small for a hub.
var DefaultLimits = Limits{
	Pack: 512 << 20, Object: 100 << 20, Inflated: 4 << 30, Objects: 1_000_000,
	Refs: 32 << 20, Listed: 64 << 20,
	Files: 50_000, Bytes: 1 << 30, File: 16 << 20, Depth: 64,
	List: 30 * time.Second, Fetch: 5 * time.Minute,
	Repositories: 200, Disk: 8 << 30,
}
