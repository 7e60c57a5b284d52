// Package artifactserver serves a Helm repository and an OCI registry on
// loopback, over HTTPS and from one address. It is for tests and demonstrations;
// who asks for what can be watched, and answered otherwise, by a door.
package artifactserver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
)

// Server runs until Close.
type Server struct {
	web      *httptest.Server
	registry http.Handler

	mu     sync.Mutex
	files  map[string][]byte
	listed map[string][]string
	door   Door
}

// Door answers instead of the server, unless it returns false.
type Door func(w http.ResponseWriter, r *http.Request) bool

// Start begins with nothing in it.
func Start() *Server {
	s := &Server{registry: ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))), files: map[string][]byte{}, listed: map[string][]string{}}
	s.web = httptest.NewTLSServer(http.HandlerFunc(s.answer))
	return s
}

// Close ends it.
func (s *Server) Close() {
	s.web.CloseClientConnections()
	s.web.Close()
}

// Charts is the URL of the Helm repository.
func (s *Server) Charts() string { return s.web.URL + "/charts" }

// Host is the registry's, with its port.
func (s *Server) Host() string { return strings.TrimPrefix(s.web.URL, "https://") }

// CA is the certificate in PEM that HTTPS is to be checked with.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.web.Certificate().Raw})
}

// Guard puts a door before everything; nil opens it.
func (s *Server) Guard(door Door) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.door = door
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	door := s.door
	s.mu.Unlock()
	switch {
	case door != nil && door(w, r):
	case strings.HasPrefix(r.URL.Path, "/v2/"):
		s.registry.ServeHTTP(w, r)
	default:
		s.file(w, r)
	}
}

func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	data, ok := s.files[r.URL.Path]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(data) // who went away does not mind
}

// Put serves a file, such as "/charts/index.yaml".
func (s *Server) Put(path string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = data
}

// Publish adds a chart to the Helm repository, as helm repo index lists it.
func (s *Server) Publish(name, version string, archive []byte) {
	file := name + "-" + version + ".tgz"
	s.Put("/charts/"+file, archive)
	s.List(name, version, file, Digest(archive))
}

// List adds a chart to the index only.
func (s *Server) List(name, version, url, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed[name] = append(s.listed[name], fmt.Sprintf("  - name: %s\n    version: %q\n    created: \"2026-05-04T12:00:00Z\"\n    digest: %s\n    urls: [%q]\n",
		name, version, strings.TrimPrefix(digest, "sha256:"), url))
	var index strings.Builder
	index.WriteString("apiVersion: v1\nentries:\n")
	for name, entries := range s.listed {
		index.WriteString("  " + name + ":\n" + strings.Join(entries, ""))
	}
	s.files["/charts/index.yaml"] = []byte(index.String())
}

// Digest is "sha256:" and 64 hex digits.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (s *Server) client() *http.Client { return s.web.Client() }
