package testfleet

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/registry"
)

// ContentVariable picks where the hub keeps content: directory, which is the
// default, or oci, a registry that this process serves.
const ContentVariable = "ATOLL_E2E_CONTENT"

// contentRegistry outlives the hub, as a registry elsewhere does.
type contentRegistry struct {
	server *http.Server
	flags  []string // for the hub
}

// newContentRegistry is nil where content lies in a directory.
func newContentRegistry(dir string) (*contentRegistry, error) {
	switch kind := os.Getenv(ContentVariable); kind {
	case "", "directory":
		return nil, nil
	case "oci":
	default:
		return nil, fmt.Errorf("%s=%s: it is directory or oci", ContentVariable, kind)
	}
	dir = filepath.Join(dir, "registry")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("serve a registry: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve a registry: %w", err)
	}
	r := &contentRegistry{
		server: &http.Server{Handler: registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(dir)), registry.Logger(log.New(io.Discard, "", 0)))},
		flags:  []string{"--content", "oci://" + l.Addr().String() + "/atoll?plainHTTP=true"},
	}
	go func() { _ = r.server.Serve(l) }() // it ends with an error, always
	return r, nil
}

func (r *contentRegistry) end() {
	if r != nil {
		_ = r.server.Close()
	}
}
