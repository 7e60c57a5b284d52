package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"atoll.dev/atoll/internal/blob"
	"atoll.dev/atoll/internal/blob/oci"
	"atoll.dev/atoll/internal/desired"
)

func isMissing(err error) bool { return errors.Is(err, blob.ErrMissing) }

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// manifest is what the registry has for a content.
func (h *house) manifest(d desired.Digest) (m ocispec.Manifest) {
	h.t.Helper()
	resp, err := http.Get("http://" + h.host() + "/v2/fleet/content/shop/manifests/" + strings.Replace(string(d), ":", "-", 1))
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || resp.StatusCode != http.StatusOK {
		h.t.Fatal(resp.Status, err)
	}
	return m
}

// retag puts a changed manifest under a content's tag.
func (h *house) retag(d desired.Digest, m ocispec.Manifest) {
	h.t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		h.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPut, "http://"+h.host()+"/v2/fleet/content/shop/manifests/"+strings.Replace(string(d), ":", "-", 1), bytes.NewReader(data))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", ocispec.MediaTypeImageManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		h.t.Fatal(resp.Status)
	}
}

// spoil gives the registry other bytes for a layer.
func (h *house) spoil(d desired.Digest, with []byte) {
	h.t.Helper()
	sum, err := v1.NewHash(string(h.manifest(d).Layers[0].Digest))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.blobs.(interface {
		Put(context.Context, string, v1.Hash, io.ReadCloser) error
	}).Put(h.t.Context(), "", sum, io.NopCloser(bytes.NewReader(with))); err != nil {
		h.t.Fatal(err)
	}
}

func TestContentIsReadByAnotherHubAndByThisOneWhileTheRegistryIsDown(t *testing.T) {
	h := newHouse(t)
	text := strings.Repeat("kind: ConfigMap\n", 5000)
	first := project(t, h.hub("keys"), "shop")
	d := put(t, first, text)
	if size := h.manifest(d).Layers[0].Size; size > int64(len(text))/10 {
		t.Errorf("%d bytes are stored as %d", len(text), size)
	}
	second := project(t, h.hub("keys"), "shop")
	if data, err := second.Get(t.Context(), d); err != nil || string(data) != text {
		t.Fatalf("another hub reads %d bytes, %v", len(data), err)
	}
	address := h.host()
	h.close()
	for name, s := range map[string]interface {
		Get(context.Context, desired.Digest) ([]byte, error)
	}{"who put it": first, "who read it": second} {
		if data, err := s.Get(t.Context(), d); err != nil || string(data) != text {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
	other := desired.Sum([]byte("other"))
	_, err := second.Get(t.Context(), other)
	if err == nil || isMissing(err) || errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("a registry that is down must not read as lost content: %v", err)
	}
	if err := first.Put(t.Context(), other, []byte("other")); err == nil {
		t.Error("content counts as durable though the registry is down")
	}
	if _, err := first.Digests(t.Context()); err == nil {
		t.Error("a registry that is down lists nothing, instead of failing")
	}
	h.open(address)
	if d := put(t, first, "other"); d != other {
		t.Errorf("stored as %s", d)
	}
}

func TestARestartOfTheRegistryIsBridged(t *testing.T) {
	h := newHouse(t)
	s := project(t, h.hub("keys"), "shop")
	var refusals atomic.Int32
	h.guard(func(w http.ResponseWriter, r *http.Request) bool {
		if refusals.Add(1) > 2 {
			return false
		}
		http.Error(w, "starting", http.StatusBadGateway)
		return true
	})
	put(t, s, "kind: ConfigMap")
}

func TestASlowRegistryHoldsNobodyWhoGivesUp(t *testing.T) {
	h := newHouse(t)
	d := put(t, project(t, h.hub("keys"), "shop"), "kind: ConfigMap")
	s := project(t, h.hub("keys"), "shop")
	waiting, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.guard(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			once.Do(func() { close(waiting) })
			<-goOn
		}
		return false
	})
	patient := make(chan error, 5)
	for range cap(patient) {
		go func() { _, err := s.Get(t.Context(), d); patient <- err }()
	}
	<-waiting
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	h.asked("")
	close(goOn)
	for range cap(patient) {
		if err := <-patient; err != nil {
			t.Errorf("who waited got %v", err)
		}
	}
	if n := h.asked(http.MethodGet); n > 1 {
		t.Errorf("five readers of one content made %d more requests", n)
	}
}

func TestDamagedContentIsRefusedAndPuttingItAgainMendsIt(t *testing.T) {
	text := strings.Repeat("kind: ConfigMap\n", 100)
	packer, err := blob.NewPacker()
	if err != nil {
		t.Fatal(err)
	}
	packed := packer.Pack([]byte(text))
	flipped := bytes.Clone(packed)
	flipped[len(flipped)/2] ^= 1
	for what, harm := range map[string]func(h *house, d desired.Digest){
		"a flipped bit": func(h *house, d desired.Digest) { h.spoil(d, flipped) },
		"a cut end":     func(h *house, d desired.Digest) { h.spoil(d, packed[:len(packed)-3]) },
		"a manifest of something else": func(h *house, d desired.Digest) {
			m := h.manifest(d)
			m.ArtifactType = "application/vnd.example"
			h.retag(d, m)
		},
		"the layer of other content": func(h *house, d desired.Digest) {
			other := put(h.t, project(h.t, h.hub("keys"), "shop"), "other")
			h.retag(d, h.manifest(other))
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t)
			d := put(t, project(t, h.hub("keys"), "shop"), text)
			harm(h, d)
			s := project(t, h.hub("keys"), "shop")
			if data, err := s.Get(t.Context(), d); err == nil {
				t.Fatalf("%d bytes are given out", len(data))
			}
			put(t, s, text)
			if data, err := project(t, h.hub("keys"), "shop").Get(t.Context(), d); err != nil || string(data) != text {
				t.Errorf("after it was put again: %d bytes, %v", len(data), err)
			}
		})
	}
}

func TestPuttingAgainMakesYoungAndWritesNothingWhileFresh(t *testing.T) {
	h := newHouse(t)
	s := project(t, h.hub("keys"), "shop")
	d := put(t, s, "kind: ConfigMap")
	h.asked("")
	put(t, s, "kind: ConfigMap")
	if n := h.asked(http.MethodPut); n != 0 {
		t.Errorf("%d writes for what is fresh", n)
	}
	m := h.manifest(d)
	old := time.Now().Add(-20 * time.Hour)
	m.Annotations[ocispec.AnnotationCreated] = old.UTC().Format(time.RFC3339)
	h.retag(d, m)
	if stored, err := s.Stored(t.Context(), d); err != nil || stored.Sub(old).Abs() > time.Second {
		t.Fatalf("stored %s, %v", stored, err)
	}
	put(t, s, "kind: ConfigMap")
	if stored, err := s.Stored(t.Context(), d); err != nil || time.Since(stored) > time.Minute {
		t.Errorf("put again, it counts as stored %s, %v", stored, err)
	}
}

func TestDeletingEndsWhereTheRegistryAllowsIt(t *testing.T) {
	h := newHouse(t)
	s := project(t, h.hub("keys"), "shop")
	d := put(t, s, "kind: ConfigMap")
	h.guard(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete {
			http.Error(w, "no", http.StatusMethodNotAllowed)
			return true
		}
		return false
	})
	if err := s.Delete(t.Context(), d); !errors.Is(err, oci.ErrKept) {
		t.Errorf("where deletion is refused: %v", err)
	}
	if _, err := project(t, h.hub("keys"), "shop").Get(t.Context(), d); err != nil {
		t.Errorf("what could not be deleted is gone: %v", err)
	}
	h.guard(nil)
	for range 2 {
		if err := s.Delete(t.Context(), d); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if _, err := s.Get(t.Context(), d); !isMissing(err) {
		t.Errorf("deleted content is read: %v", err)
	}
	if digests, err := s.Digests(t.Context()); err != nil || len(digests) != 0 {
		t.Errorf("left are %v, %v", digests, err)
	}
}

func TestTheCacheStaysWithinItsBound(t *testing.T) {
	h := newHouse(t)
	dir := t.TempDir()
	const bound = 64 << 10
	s := project(t, h.hub("keys", func(o *oci.Options) { o.Cache, o.CacheBytes = dir, bound }), "shop")
	var all []desired.Digest
	for i := range 40 {
		noise := bytes.Buffer{}
		for j := range 400 {
			fmt.Fprintf(&noise, "%s\n", desired.Sum([]byte{byte(i), byte(j), byte(j >> 8)}))
		}
		all = append(all, put(t, s, noise.String()))
	}
	var size int64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		size += info.Size()
		return err
	})
	if err != nil || size > bound || size == 0 {
		t.Errorf("the cache takes %d bytes, %v", size, err)
	}
	for _, d := range all {
		if _, err := s.Get(t.Context(), d); err != nil {
			t.Fatalf("what the cache lost is not read from the registry: %v", err)
		}
	}
}
