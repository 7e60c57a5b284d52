package helm_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/sandbox/artifactserver"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/helm"
)

var loopback = egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

func serve(t *testing.T) *artifactserver.Server {
	t.Helper()
	s := artifactserver.Start()
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, guard egress.Guard, limits helm.Limits) *helm.Repositories {
	t.Helper()
	r, err := helm.Open(filepath.Join(t.TempDir(), "charts"), guard, limits, time.Now)
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
	return &source.Secret{Name: "demo/charts", Holder: strings.Join(pairs, " "), Data: data}
}

// fetch is the chart web as it is now.
func fetch(t *testing.T, r *helm.Repositories, url, version string, with *source.Secret) (source.Snapshot, error) {
	t.Helper()
	o, err := r.Open(v1alpha1.Source{Chart: &v1alpha1.ChartSource{Repository: url, Name: "web", Version: version}}, with)
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

func fails(t *testing.T, err error, reason, words string) {
	t.Helper()
	var f *source.Failure
	if !errors.As(err, &f) || f.Reason != reason || !strings.Contains(err.Error(), words) {
		t.Errorf("%v; wanted %s with words on %q", err, reason, words)
	}
}

func chart(version, text string) []byte {
	return artifactserver.Chart("web", version, map[string]string{"templates/a.yaml": text})
}

func TestTheHighestVersionInARangeIsFetchedOnceAndIsWhatTheIndexNames(t *testing.T) {
	s := serve(t)
	var mu sync.Mutex
	asked := map[string]int{}
	s.Guard(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		asked[r.URL.Path]++
		return false
	})
	for _, version := range []string{"1.2.0", "1.10.0", "2.0.0", "2.1.0-rc.1"} {
		s.Publish("web", version, chart(version, "v: "+version))
	}
	r := open(t, loopback, helm.DefaultLimits)
	for wanted, version := range map[string]string{"1.x": "1.10.0", "1.2.0": "1.2.0", "": "2.0.0", ">=2.1.0-0": "2.1.0-rc.1"} {
		got, err := fetch(t, r, s.Charts(), wanted, held(s))
		if err != nil {
			t.Errorf("%q: %v", wanted, err)
			continue
		}
		text, err := os.ReadFile(filepath.Join(got.Dir, got.Path, "templates/a.yaml"))
		if err != nil || string(text) != "v: "+version || got.Revision.Ref != version || got.Path != "web" ||
			got.Revision.ID != artifactserver.Digest(chart(version, "v: "+version)) || got.Revision.Time.Year() != 2026 {
			t.Errorf("%q is %+v with %q, %v", wanted, got, text, err)
		}
	}
	if _, err := fetch(t, r, s.Charts()+"/", "1.x", held(s)); err != nil {
		t.Error(err)
	}
	if asked["/charts/web-1.10.0.tgz"] != 1 {
		t.Errorf("one chart was brought %d times", asked["/charts/web-1.10.0.tgz"])
	}
	_, err := fetch(t, r, s.Charts(), "3.x", held(s))
	fails(t, err, source.RefNotFound, "1.10.0, 1.2.0")
}

func TestWhatIsWrongWithARepositoryIsToldByItsReason(t *testing.T) {
	for name, c := range map[string]struct {
		index, reason, words string
		status               int
	}{
		"no YAML":            {"<html>\n\tno", source.NoRepository, "cannot be read", 0},
		"no index":           {"apiVersion: v2\n", source.NoRepository, "no entries", 0},
		"no such chart":      {"entries: {db: [{version: 1.0.0, urls: [a.tgz]}]}", source.RefNotFound, `no chart "web"; it has db`, 0},
		"no digest":          {"entries: {web: [{version: 1.0.0, urls: [a.tgz]}]}", source.SourceRefused, "no digest", 0},
		"half a digest":      {"entries: {web: [{version: 1.0.0, digest: abc, urls: [a.tgz]}]}", source.SourceRefused, "no digest", 0},
		"a laugh":            {laughs, source.NoRepository, "aliasing", 0},
		"too large":          {"# " + strings.Repeat("x", 2<<20), source.TooLarge, "more than 1 MiB", 0},
		"too many versions":  {`{"entries": {"web": [` + strings.Repeat(`{"version":"1.0.0","urls":["a"]},`, 99) + `{"version":"1.0.0","urls":["a"]}]}}`, source.NoRepository, "more than 50", 0},
		"not there":          {"", source.RepositoryNotFound, "404", http.StatusNotFound},
		"wants credentials":  {"", source.CredentialMissing, "wants credentials", http.StatusUnauthorized},
		"broken":             {"", source.Unreachable, "503", http.StatusServiceUnavailable},
		"a file of its own":  {"entries: {web: [{version: 1.0.0, digest: " + strings.Repeat("a", 64) + ", urls: ['file:///etc/passwd']}]}", source.NoRepository, "none that can be used", 0},
		"without encryption": {"entries: {web: [{version: 1.0.0, digest: " + strings.Repeat("a", 64) + ", urls: ['http://127.0.0.1/x.tgz']}]}", source.Unreachable, "not https", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.Put("/charts/index.yaml", []byte(c.index))
			if c.status != 0 {
				s.Guard(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(c.status); return true })
			}
			limits := helm.DefaultLimits
			limits.Index, limits.Versions = 1<<20, 50
			_, err := fetch(t, open(t, loopback, limits), s.Charts(), "1.0.0", held(s))
			fails(t, err, c.reason, c.words)
		})
	}
	s := serve(t)
	_, err := fetch(t, open(t, egress.Guard{}, helm.DefaultLimits), s.Charts(), "", held(s))
	fails(t, err, source.AddressRefused, "--source-allow")
	_, err = fetch(t, open(t, loopback, helm.DefaultLimits), s.Charts(), "", nil)
	fails(t, err, source.Unreachable, "ca.crt")
}

// laughs unfolds to a billion words.
var laughs = func() string {
	text := "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
	for n := range 9 {
		at := string(rune('0' + n))
		next := string(rune('1' + n))
		text += "a" + next + ": &a" + next + " [" + strings.Repeat("*a"+at+",", 9) + "*a" + at + "]\n"
	}
	return text + "entries: {web: *a9}\n"
}()

func TestHostileChartsAreRefusedByName(t *testing.T) {
	for name, c := range map[string]struct {
		archive       []byte
		reason, words string
	}{
		"upwards":       {artifactserver.Pack(map[string]string{"web/Chart.yaml": "name: web\nversion: 1.0.0\n", "web/../../x": "x"}), source.SourceRefused, "leads out"},
		"another chart": {artifactserver.Chart("db", "1.0.0", nil), source.SourceRefused, "holds chart db 1.0.0"},
		"another age":   {artifactserver.Chart("web", "0.9.0", nil), source.SourceRefused, "holds chart web 0.9.0"},
		"two charts": {artifactserver.Pack(map[string]string{"web/Chart.yaml": "name: web\nversion: 1.0.0\n", "x/Chart.yaml": "name: web\nversion: 1.0.0\n"}),
			source.SourceRefused, "two charts"},
		"no chart":     {artifactserver.Pack(map[string]string{"web/values.yaml": "a: b"}), source.SourceRefused, "no folder with a Chart.yaml"},
		"no archive":   {[]byte("hello"), source.SourceRefused, "cannot be read"},
		"a large file": {artifactserver.Chart("web", "1.0.0", map[string]string{"big": strings.Repeat("0", 17<<20)}), source.TooLarge, "web/big"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.Publish("web", "1.0.0", c.archive)
			_, err := fetch(t, open(t, loopback, helm.DefaultLimits), s.Charts(), "", held(s))
			fails(t, err, c.reason, c.words)
			var f *source.Failure
			if errors.As(err, &f) && !f.Lasting {
				t.Error("it is fetched again and again")
			}
		})
	}
	s := serve(t)
	s.Publish("web", "1.0.0", chart("1.0.0", "a: b"))
	s.Put("/charts/web-1.0.0.tgz", chart("1.0.0", "a: c"))
	r := open(t, loopback, helm.DefaultLimits)
	_, err := fetch(t, r, s.Charts(), "", held(s))
	fails(t, err, source.SourceRefused, "and not sha256:")
	s.Put("/charts/web-1.0.0.tgz", chart("1.0.0", "a: b"))
	if _, err := fetch(t, r, s.Charts(), "", held(s)); err != nil {
		t.Errorf("the right one was put back: %v", err)
	}
}

// Charts often lie elsewhere than their index.
func TestCredentialsAreShownToTheRepositoryAndNobodyElse(t *testing.T) {
	s, elsewhere := serve(t), (*httptest.Server)(nil)
	var shown []string
	packed := chart("1.0.0", "a: b")
	elsewhere = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("Authorization")+r.Header.Get("Referer"))
		_, _ = w.Write(packed)
	}))
	defer elsewhere.Close()
	s.List("web", "1.0.0", elsewhere.URL+"/web.tgz", artifactserver.Digest(packed)) // named by the index
	s.List("web", "2.0.0", "moved.tgz?key=secret", artifactserver.Digest(chart("2.0.0", "a: b")))
	var asked int
	s.Guard(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user != "hub" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		asked++
		if strings.HasPrefix(r.URL.Path, "/charts/moved") { // or by a redirect
			http.Redirect(w, r, elsewhere.URL+"/moved", http.StatusFound)
			return true
		}
		return false
	})
	r := open(t, loopback, helm.DefaultLimits)
	with := held(s, "username", "hub", "password", "secret")
	if _, err := fetch(t, r, s.Charts(), "1.0.0", with); err != nil {
		t.Error(err)
	}
	packed = chart("2.0.0", "a: b")
	if _, err := fetch(t, r, s.Charts(), "2.0.0", with); err != nil {
		t.Error(err)
	}
	if len(shown) != 2 || shown[0]+shown[1] != "" || asked == 0 {
		t.Errorf("the other host was shown %q", shown)
	}
	_, err := fetch(t, r, s.Charts(), "", held(s, "username", "hub", "password", "old"))
	fails(t, err, source.CredentialRefused, "renew them")
}

func TestARedirectLeadsToNoAddressThatIsForbidden(t *testing.T) {
	s := serve(t)
	s.Guard(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "https://169.254.169.254/latest/meta-data", http.StatusFound)
		return true
	})
	_, err := fetch(t, open(t, loopback, helm.DefaultLimits), s.Charts(), "", held(s))
	fails(t, err, source.AddressRefused, "169.254.169.254")
}
