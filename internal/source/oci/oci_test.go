package oci_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/sandbox/artifactserver"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/oci"
)

var loopback = egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

func serve(t *testing.T) *artifactserver.Server {
	t.Helper()
	s := artifactserver.Start()
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, limits oci.Limits) *oci.Registries {
	t.Helper()
	r, err := oci.Open(filepath.Join(t.TempDir(), "artifacts"), loopback, limits, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// held is a Secret with which a server is trusted.
func held(s *artifactserver.Server, pairs ...string) *source.Secret {
	data := map[string][]byte{"ca.crt": s.CA()}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = []byte(pairs[i+1])
	}
	return &source.Secret{Name: "demo/registry", Holder: strings.Join(pairs, " "), Data: data}
}

func push(t *testing.T, s *artifactserver.Server, tag string, a artifactserver.Artifact) string {
	t.Helper()
	digest, err := s.Push(t.Context(), "team/shop", tag, a)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func artifact(s *artifactserver.Server, ref v1alpha1.OCIRef, path string) v1alpha1.Source {
	return v1alpha1.Source{OCI: &v1alpha1.OCISource{URL: "oci://" + s.Host() + "/team/shop", Ref: ref, Path: path}}
}

func fetch(t *testing.T, r *oci.Registries, from v1alpha1.Source, with *source.Secret) (source.Snapshot, error) {
	t.Helper()
	o, err := r.Open(from, with)
	if err != nil {
		return source.Snapshot{}, err
	}
	found, err := o.Find(t.Context(), time.Now())
	if err != nil {
		return source.Snapshot{}, err
	}
	s, release, err := o.Fetch(t.Context(), found)
	if err == nil {
		t.Cleanup(release)
	}
	return s, err
}

func reads(t *testing.T, s source.Snapshot, name, want string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir, s.Path, name))
	if err != nil || string(data) != want {
		t.Errorf("%s of %s is %q, %v; it should be %q", name, s.Revision.ID, data, err, want)
	}
}

func fails(t *testing.T, err error, reason, words string) {
	t.Helper()
	var f *source.Failure
	if !errors.As(err, &f) || f.Reason != reason || !strings.Contains(err.Error(), words) {
		t.Errorf("%v; wanted %s with words on %q", err, reason, words)
	}
}

// flux is an artifact as flux push makes it.
func flux(text string) artifactserver.Artifact {
	return artifactserver.Artifact{
		Annotations: map[string]string{
			"org.opencontainers.image.created": "2026-05-04T12:00:00Z", "org.opencontainers.image.source": "https://git.example.com/shop",
			"org.opencontainers.image.revision": "main@sha1:1a2b",
		},
		Layers: []artifactserver.Layer{{Type: artifactserver.FluxLayer, Data: artifactserver.Pack(map[string]string{"deploy/a.yaml": text, "b.yaml": "b"})}},
	}
}

func TestWhatFluxAndORASPushIsFetched(t *testing.T) {
	s, r := serve(t), open(t, oci.DefaultLimits)
	first := push(t, s, "latest", flux("one"))
	got, err := fetch(t, r, artifact(s, v1alpha1.OCIRef{}, "deploy"), held(s))
	if err != nil {
		t.Fatal(err)
	}
	reads(t, got, "a.yaml", "one")
	if v := got.Revision; v.ID != first || v.Ref != "latest" || v.Source != "https://git.example.com/shop" || v.SourceRevision != "main@sha1:1a2b" || v.Time.Year() != 2026 {
		t.Errorf("it is %+v", v)
	}

	// A tag is moved, and what it was is still there by its digest.
	second := push(t, s, "latest", flux("two"))
	for ref, want := range map[v1alpha1.OCIRef]string{{}: "two", {Tag: "latest"}: "two", {Digest: first}: "one", {Digest: second}: "two"} {
		got, err := fetch(t, r, artifact(s, ref, ""), held(s))
		if err != nil {
			t.Fatal(err)
		}
		reads(t, got, "deploy/a.yaml", want)
	}

	// ORAS pushes files by their names, and folders as archives that say so.
	push(t, s, "oras", artifactserver.Artifact{Layers: []artifactserver.Layer{
		{Type: "application/yaml", Data: []byte("file"), Annotations: map[string]string{"org.opencontainers.image.title": "sub/file.yaml"}},
		{Type: "application/vnd.oci.image.layer.v1.tar+gzip", Data: artifactserver.Pack(map[string]string{"deploy/c.yaml": "folder"}),
			Annotations: map[string]string{"org.opencontainers.image.title": "deploy", "io.deis.oras.content.unpack": "true"}},
		{Type: "application/vnd.oci.image.layer.v1.tar+gzip", Data: artifactserver.Pack(map[string]string{"d.yaml": "nameless"})},
		{Type: "application/vnd.oci.empty.v1+json", Data: []byte("{}")},
	}})
	got, err = fetch(t, r, artifact(s, v1alpha1.OCIRef{Tag: "oras"}, ""), held(s))
	if err != nil {
		t.Fatal(err)
	}
	reads(t, got, "sub/file.yaml", "file")
	reads(t, got, "deploy/c.yaml", "folder")
	reads(t, got, "d.yaml", "nameless")

	for _, tag := range []string{"1.2.0", "1.10.0", "2.0.0"} {
		push(t, s, tag, flux(tag))
	}
	got, err = fetch(t, r, artifact(s, v1alpha1.OCIRef{Semver: "1.x"}, "deploy"), held(s))
	if err != nil {
		t.Fatal(err)
	}
	reads(t, got, "a.yaml", "1.10.0")
	_, err = fetch(t, r, artifact(s, v1alpha1.OCIRef{Semver: "3.x"}, ""), held(s))
	fails(t, err, source.RefNotFound, "1.10.0")
	_, err = fetch(t, r, artifact(s, v1alpha1.OCIRef{Tag: "missing"}, ""), held(s))
	fails(t, err, source.RefNotFound, `no tag "missing"`)
	_, err = fetch(t, r, artifact(s, v1alpha1.OCIRef{}, "nowhere"), held(s))
	fails(t, err, source.SourceRefused, `no folder "nowhere"`)
}

func TestAChartIsFetchedFromARegistry(t *testing.T) {
	s, r := serve(t), open(t, oci.DefaultLimits)
	publish := func(tag, name, version string) {
		push(t, s, tag, artifactserver.Artifact{Layers: []artifactserver.Layer{{Type: artifactserver.ChartLayer, Data: artifactserver.Chart(name, version, nil)}}})
	}
	publish("1.2.0", "shop", "1.2.0")
	publish("1.3.0_build.7", "shop", "1.3.0+build.7")
	publish("2.0.0", "shop", "2.0.0")
	from := v1alpha1.Source{Chart: &v1alpha1.ChartSource{Repository: "oci://" + s.Host() + "/team", Name: "shop"}}
	for wanted, version := range map[string]string{"1.x": "1.3.0+build.7", "1.3.0+build.7": "1.3.0+build.7", "1.2.0": "1.2.0", "": "2.0.0"} {
		from.Chart.Version = wanted
		got, err := fetch(t, r, from, held(s))
		if err != nil || got.Revision.Ref != version || got.Path != "shop" {
			t.Errorf("%q is %+v, %v", wanted, got, err)
		}
	}
	_, err := fetch(t, r, artifact(s, v1alpha1.OCIRef{Tag: "1.2.0"}, ""), held(s))
	fails(t, err, source.SourceRefused, "spec.source.chart")

	from.Chart.Version = "2.0.0"
	publish("2.0.0", "other", "2.0.0")
	_, err = fetch(t, r, from, held(s))
	fails(t, err, source.SourceRefused, "holds chart other 2.0.0")
	push(t, s, "2.0.0", flux("no chart"))
	_, err = fetch(t, r, from, held(s))
	fails(t, err, source.SourceRefused, "is no chart")
}

func TestHostileArtifactsAreRefused(t *testing.T) {
	titled := func(name string) artifactserver.Layer {
		return artifactserver.Layer{Type: "application/yaml", Data: []byte("x"), Annotations: map[string]string{"org.opencontainers.image.title": name}}
	}
	packed := func(files map[string]string) artifactserver.Layer {
		return artifactserver.Layer{Type: artifactserver.FluxLayer, Data: artifactserver.Pack(files)}
	}
	for name, c := range map[string]struct {
		layers        []artifactserver.Layer
		reason, words string
	}{
		"a file upwards":  {[]artifactserver.Layer{titled("../../x")}, source.SourceRefused, "leads out"},
		"an absolute one": {[]artifactserver.Layer{titled("/etc/x")}, source.SourceRefused, "absolute"},
		"one in .git":     {[]artifactserver.Layer{titled(".git/config")}, source.SourceRefused, ".git/config"},
		"one file twice":  {[]artifactserver.Layer{titled("a"), packed(map[string]string{"a": "y"})}, source.SourceRefused, "twice"},
		"packed upwards":  {[]artifactserver.Layer{packed(map[string]string{"../x": "x"})}, source.SourceRefused, "leads out"},
		"no archive":      {[]artifactserver.Layer{{Type: artifactserver.FluxLayer, Data: []byte("hello")}}, source.SourceRefused, "cannot be read"},
		"of no kind":      {[]artifactserver.Layer{{Type: "application/x-sh", Data: []byte("id")}}, source.SourceRefused, "application/x-sh"},
		"a large layer":   {[]artifactserver.Layer{{Type: artifactserver.FluxLayer, Data: make([]byte, 2<<20)}}, source.TooLarge, "more than 1 MiB"},
		"many layers":     {[]artifactserver.Layer{titled("a"), titled("b"), titled("c"), titled("d")}, source.TooLarge, "4 layers"},
	} {
		t.Run(name, func(t *testing.T) {
			s, limits := serve(t), oci.DefaultLimits
			limits.Layer, limits.Layers = 1<<20, 3
			push(t, s, "latest", artifactserver.Artifact{Layers: c.layers})
			_, err := fetch(t, open(t, limits), artifact(s, v1alpha1.OCIRef{}, ""), held(s))
			fails(t, err, c.reason, c.words)
			var f *source.Failure
			if errors.As(err, &f) && !f.Lasting {
				t.Error("it is fetched again and again")
			}
		})
	}
	s, limits := serve(t), oci.DefaultLimits
	limits.Tags = 2
	for _, tag := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		push(t, s, tag, flux(tag))
	}
	_, err := fetch(t, open(t, limits), artifact(s, v1alpha1.OCIRef{Semver: "1.x"}, ""), held(s))
	fails(t, err, source.TooLarge, "more than 2 tags")
}

// A registry that lies about a layer is not believed, and is asked again.
func TestALayerThatIsAnotherIsNotUnpacked(t *testing.T) {
	s := serve(t)
	push(t, s, "latest", flux("one"))
	s.Guard(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		_, _ = w.Write(artifactserver.Pack(map[string]string{"deploy/a.yaml": "evil"}))
		return true
	})
	r := open(t, oci.DefaultLimits)
	_, err := fetch(t, r, artifact(s, v1alpha1.OCIRef{}, ""), held(s))
	var f *source.Failure
	if !errors.As(err, &f) || f.Lasting {
		t.Errorf("got %v", err)
	}
	s.Guard(nil)
	if _, err := fetch(t, r, artifact(s, v1alpha1.OCIRef{}, ""), held(s)); err != nil {
		t.Error(err)
	}
}

// house asks for credentials, by itself or by a token, and keeps layers elsewhere.
type house struct {
	own, elsewhere *artifactserver.Server
	shown          []string // to the other host
	tokens         int
}

func (h *house) door(w http.ResponseWriter, r *http.Request) bool {
	user, password, basic := r.BasicAuth()
	right := user == "hub" && password == "hunter2"
	switch {
	case r.URL.Path == "/token" && right:
		h.tokens++
		_, _ = fmt.Fprint(w, `{"token": "t0ken"}`)
	case r.URL.Path == "/token", basic && !right:
		w.WriteHeader(http.StatusUnauthorized)
	case r.Header.Get("Authorization") == "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+r.Host+`/token",service="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	case r.Header.Get("Authorization") != "Bearer t0ken":
		w.WriteHeader(http.StatusForbidden)
	case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/"):
		http.Redirect(w, r, "https://"+h.elsewhere.Host()+r.URL.Path+"?signature=x", http.StatusTemporaryRedirect)
	default:
		return false
	}
	return true
}

func TestARegistrysTokensAndWhereItKeepsLayers(t *testing.T) {
	h := &house{own: serve(t), elsewhere: serve(t)}
	push(t, h.own, "latest", flux("one"))
	push(t, h.elsewhere, "latest", flux("one"))
	h.own.Guard(h.door)
	h.elsewhere.Guard(func(_ http.ResponseWriter, r *http.Request) bool {
		h.shown = append(h.shown, r.Header.Get("Authorization")+r.Header.Get("Referer"))
		return false
	})
	from := artifact(h.own, v1alpha1.OCIRef{}, "deploy")
	docker := func(host, password string) string {
		return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, base64.StdEncoding.EncodeToString([]byte("hub:"+password)))
	}
	for name, with := range map[string]*source.Secret{
		"a password":        held(h.own, "username", "hub", "password", "hunter2"),
		"docker's file":     held(h.own, ".dockerconfigjson", docker(h.own.Host(), "hunter2")),
		"docker's, by URL":  held(h.own, ".dockerconfigjson", docker("https://"+h.own.Host()+"/v1/", "hunter2")),
		"a token of others": held(h.own, "bearerToken", "t0ken"),
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, oci.DefaultLimits)
			before := h.tokens
			for range 3 {
				got, err := fetch(t, r, from, with)
				if err != nil {
					t.Fatal(err)
				}
				reads(t, got, "a.yaml", "one")
			}
			if h.tokens-before > 1 {
				t.Errorf("%d tokens were asked for", h.tokens-before)
			}
		})
	}
	if len(h.shown) == 0 || strings.Join(h.shown, "") != "" {
		t.Errorf("the other host was shown %q", h.shown)
	}
	for name, c := range map[string]struct {
		with          *source.Secret
		reason, words string
	}{
		"no credentials":      {held(h.own), source.CredentialMissing, "wants credentials"},
		"old ones":            {held(h.own, "username", "hub", "password", "old"), source.CredentialRefused, "renew them"},
		"of another host":     {&source.Secret{Name: "demo/registry", Data: map[string][]byte{".dockerconfigjson": []byte(docker("ghcr.io", "hunter2"))}}, source.CredentialMissing, "nothing for 127.0.0.1"},
		"half of docker's":    {held(h.own, ".dockerconfigjson", `{"auths": {"h": {"auth": "!"}}}`), source.CredentialMissing, "base64"},
		"no file of docker's": {held(h.own, ".dockerconfigjson", `hunter2`), source.CredentialMissing, "no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fetch(t, open(t, oci.DefaultLimits), from, c.with)
			fails(t, err, c.reason, c.words)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v tells a secret", err)
			}
		})
	}
}

// A realm is an address that a registry, which a project chose, has the hub dial.
func TestATokenIsAskedForWhereItMayBe(t *testing.T) {
	for realm, c := range map[string]struct{ reason, words string }{
		"https://169.254.169.254/token": {source.Unreachable, "link-local"},
		"http://127.0.0.1/token":        {source.Unreachable, "https"},
	} {
		s := serve(t)
		push(t, s, "latest", flux("one"))
		s.Guard(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		_, err := fetch(t, open(t, oci.DefaultLimits), artifact(s, v1alpha1.OCIRef{}, ""), held(s, "username", "hub", "password", "hunter2"))
		fails(t, err, c.reason, c.words)
	}
}
