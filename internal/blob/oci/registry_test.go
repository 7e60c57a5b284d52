package oci_test

import (
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"atoll.dev/atoll/internal/blob/oci"
	"atoll.dev/atoll/internal/desired"
)

// house is a real registry whose door can be shut.
type house struct {
	t        *testing.T
	blobs    ggcr.BlobHandler
	registry http.Handler
	listener net.Listener
	server   *http.Server

	mu sync.Mutex
	// door answers instead of the registry, unless it returns false.
	door     func(w http.ResponseWriter, r *http.Request) bool
	requests []string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, blobs: ggcr.NewInMemoryBlobHandler()}
	h.registry = ggcr.New(ggcr.WithBlobHandler(h.blobs), ggcr.Logger(log.New(io.Discard, "", 0)))
	h.open("127.0.0.1:0")
	t.Cleanup(h.close)
	return h
}

func (h *house) open(address string) {
	h.t.Helper()
	var err error
	if h.listener, err = net.Listen("tcp", address); err != nil {
		h.t.Fatal(err)
	}
	h.server = &http.Server{Handler: h}
	go func(s *http.Server, l net.Listener) { _ = s.Serve(l) }(h.server, h.listener)
}

func (h *house) close() { _ = h.server.Close() }

func (h *house) host() string { return h.listener.Addr().String() }

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	door := h.door
	h.requests = append(h.requests, r.Method+" "+r.URL.Path)
	h.mu.Unlock()
	if door == nil || !door(w, r) {
		h.registry.ServeHTTP(w, r)
	}
}

func (h *house) guard(door func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.door = door
}

// asked counts the requests with that method since the last time.
func (h *house) asked(method string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	var n int
	for _, r := range h.requests {
		if strings.HasPrefix(r, method+" ") {
			n++
		}
	}
	h.requests = nil
	return n
}

// hub opens the content of the hub with these keys; each has its own cache.
func (h *house) hub(owner string, change ...func(*oci.Options)) *oci.Registry {
	h.t.Helper()
	l, err := oci.Parse("oci://" + h.host() + "/fleet/content?plainHTTP=true")
	if err != nil {
		h.t.Fatal(err)
	}
	o := oci.Options{Location: l, Owner: owner, Cache: h.t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	r, err := oci.Open(o)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func project(t *testing.T, r *oci.Registry, name string) *oci.Store {
	t.Helper()
	s, err := r.Project(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *oci.Store, text string) desired.Digest {
	t.Helper()
	d := desired.Sum([]byte(text))
	if err := s.Put(t.Context(), d, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestALocationIsReadOrRefusedWithAReason(t *testing.T) {
	for text, want := range map[string]oci.Location{
		"oci://registry.example.org/fleet/content":         {Host: "registry.example.org", Path: "fleet/content"},
		"oci://127.0.0.1:5000/atoll?plainHTTP=true":        {Host: "127.0.0.1:5000", Path: "atoll", PlainHTTP: true},
		"oci://registry.example.org/atoll/?plainHTTP=0":    {Host: "registry.example.org", Path: "atoll"},
		"oci://[::1]:5000/atoll/hub-1_x.y?plainHTTP=false": {Host: "[::1]:5000", Path: "atoll/hub-1_x.y"},
	} {
		if got, err := oci.Parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, word := range map[string]string{
		"https://registry.example.org/atoll":             "does not begin",
		"oci://registry.example.org":                     "repository",
		"oci:///atoll":                                   "registry",
		"oci://user:secret@registry.example.org/atoll":   "credentials",
		"oci://registry.example.org/Atoll":               "repository",
		"oci://registry.example.org/atoll:latest":        "repository",
		"oci://registry.example.org/atoll?insecure=true": "insecure",
		"oci://registry.example.org/atoll?plainHTTP=yes": "true or false",
	} {
		if _, err := oci.Parse(text); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, which does not say %q", text, err, word)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("oci://registry.example.org:5000/fleet/content?plainHTTP=true")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := oci.Parse(text)
		if err != nil {
			return
		}
		again, err := oci.Parse(l.String())
		if err != nil || again.Host != l.Host || again.Path != l.Path {
			t.Errorf("%q is %+v, and %q is %+v, %v", text, l, l.String(), again, err)
		}
	})
}

func TestTwoHubsDoNotShareALocationUnlessTheyShareKeys(t *testing.T) {
	h := newHouse(t)
	d := put(t, project(t, h.hub("first"), "shop"), "kind: ConfigMap")
	if data, err := project(t, h.hub("first"), "shop").Get(t.Context(), d); err != nil || string(data) != "kind: ConfigMap" {
		t.Errorf("the other hub of one store reads %q, %v", data, err)
	}
	stranger := h.hub("second")
	if err := stranger.Claim(t.Context()); err == nil || !strings.Contains(err.Error(), "other keys") {
		t.Errorf("a hub with other keys may claim it: %v", err)
	}
	if _, err := project(t, stranger, "shop").Digests(t.Context()); err == nil {
		t.Error("a hub with other keys may list what it would sweep")
	}
}

func TestProjectsAreRepositoriesAndSeeOnlyTheirOwn(t *testing.T) {
	h := newHouse(t)
	r := h.hub("keys")
	shop, bank := project(t, r, "shop"), project(t, r, "bank")
	ours, theirs := put(t, shop, "shop's"), put(t, bank, "bank's")
	if _, err := shop.Get(t.Context(), theirs); !isMissing(err) {
		t.Errorf("a project reads another's content: %v", err)
	}
	digests, err := shop.Digests(t.Context())
	if err != nil || len(digests) != 1 || digests[0] != ours {
		t.Errorf("the shop has %v, %v", digests, err)
	}
	names, err := r.Projects(t.Context())
	if err != nil || len(names) != 2 {
		t.Errorf("projects with content are %v, %v", names, err)
	}
	h.guard(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/_catalog") {
			http.Error(w, "no such thing here", http.StatusMethodNotAllowed)
			return true
		}
		return false
	})
	if names, err := r.Projects(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("a registry without a catalogue gives %v, %v", names, err)
	}
	if digests, err := project(t, r, "new").Digests(t.Context()); err != nil || len(digests) != 0 {
		t.Errorf("a project without a repository has %v, %v", digests, err)
	}
}

func TestCredentialsComeFromTheEnvironmentOrDockersFile(t *testing.T) {
	h := newHouse(t)
	h.guard(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "hub" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
		return true
	})
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	if err := h.hub("keys").Claim(t.Context()); err == nil || !strings.Contains(err.Error(), "DOCKER_CONFIG") {
		t.Errorf("without credentials: %v", err)
	}
	write(t, "config.json", `{"auths":{"`+h.host()+`":{"auth":"aHViOnNlY3JldA=="}}}`)
	if err := h.hub("keys").Claim(t.Context()); err != nil {
		t.Errorf("with docker's file: %v", err)
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv(oci.UserVariable, "hub")
	l, _ := oci.Parse("oci://registry.example.org/atoll")
	if _, err := oci.Open(oci.Options{Location: l, Cache: t.TempDir()}); err == nil || !strings.Contains(err.Error(), oci.PasswordVariable) {
		t.Errorf("half of the credentials: %v", err)
	}
	t.Setenv(oci.PasswordVariable, "secret")
	if err := h.hub("keys").Claim(t.Context()); err != nil {
		t.Errorf("with variables: %v", err)
	}
}

func TestAnIdleRequestIsGivenUp(t *testing.T) {
	h := newHouse(t)
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	h.guard(func(http.ResponseWriter, *http.Request) bool { <-end; return true })
	r := h.hub("keys", func(o *oci.Options) { o.Patience = 10 * time.Millisecond })
	if err := r.Claim(t.Context()); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("a registry that never answers: %v", err)
	}
}
