// Package gitserver serves Git repositories on loopback as hosts do: over HTTPS
// with git's own http-backend, and over ssh with its upload-pack. It is for
// tests and demonstrations; who may read is one user with one password and one
// key, which can be changed while it runs.
package gitserver

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Server runs until Close.
type Server struct {
	dir     string
	backend *cgi.Handler
	web     *httptest.Server
	shell   net.Listener
	config  *ssh.ServerConfig
	hostKey ssh.PublicKey
	// Identity is the private key in PEM that may read over ssh.
	Identity []byte

	mu       sync.Mutex
	password string
	away     bool
	lists    int
	fetches  int
}

// Start serves what is in dir.
func Start(dir string) (*Server, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	s := &Server{dir: dir}
	s.backend = &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env:  append(environment(), "GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1"),
	}
	if err := s.serveShell(); err != nil {
		return nil, err
	}
	s.web = httptest.NewTLSServer(http.HandlerFunc(s.answer))
	return s, nil
}

// Close ends it.
func (s *Server) Close() error {
	s.web.CloseClientConnections()
	s.web.Close()
	return s.shell.Close()
}

// URL is a repository's over HTTPS.
func (s *Server) URL(repo string) string { return s.web.URL + "/" + repo + ".git" }

// ShellURL is a repository's over ssh.
func (s *Server) ShellURL(repo string) string {
	return "ssh://git@" + s.shell.Addr().String() + "/" + repo + ".git"
}

// CA is the certificate in PEM that HTTPS is to be checked with.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.web.Certificate().Raw})
}

// Require has everybody on HTTPS say a password from now on; "" nobody.
func (s *Server) Require(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.password = password
}

// Away has HTTPS answer nothing useful while it is set.
func (s *Server) Away(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// Counts are how often references were listed and packs fetched over HTTPS.
func (s *Server) Counts() (lists, fetches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, s.fetches
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	password, away := s.password, s.away
	if strings.HasSuffix(r.URL.Path, "/info/refs") {
		s.lists++
	} else {
		s.fetches++
	}
	s.mu.Unlock()
	switch _, given, _ := r.BasicAuth(); {
	case away:
		http.Error(w, "away", http.StatusBadGateway)
	case password != "" && given != password && r.Header.Get("Authorization") != "Bearer "+password:
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
	default:
		s.backend.ServeHTTP(w, r)
	}
}

// path of a repository as a client named it.
func (s *Server) path(name string) (string, error) {
	name = strings.Trim(name, "/")
	if !filepath.IsLocal(name) {
		return "", errors.New("not found")
	}
	return filepath.Join(s.dir, name), nil
}
