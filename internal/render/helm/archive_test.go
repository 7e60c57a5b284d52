package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/render/helm"
)

// archive packs files, given as pairs of name and text.
func archive(t testing.TB, pairs ...string) string {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	files := tar.NewWriter(zip)
	for i := 0; i < len(pairs); i += 2 {
		if err := files.WriteHeader(&tar.Header{Name: pairs[i], Mode: 0o644, Size: int64(len(pairs[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(files, pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.String()
}

const (
	needsDB = chartYAML + "dependencies: [{name: db, version: 1.x}]\n"
	dbYAML  = "apiVersion: v2\nname: db\nversion: 1.0.0\n"
)

func TestDependenciesMayBePacked(t *testing.T) {
	r, err := render(t, tree("web/Chart.yaml", needsDB, "web/charts/db-1.0.0.tgz",
		archive(t, "db/Chart.yaml", dbYAML, "db/templates/a.yaml", "a: {{ .Release.Name }}\n")))
	if err != nil || !strings.Contains(text(r), "# web/charts/db/templates/a.yaml\na: shop\n") {
		t.Errorf("got %s, %v", text(r), err)
	}
}

func TestHostileArchivesAreRefused(t *testing.T) {
	huge := strings.Repeat("0", 6<<20)
	for name, test := range map[string]struct{ packed, want string }{
		"a path upwards":    {archive(t, "db/Chart.yaml", dbYAML, "db/../../../etc/cron.d/x", "x"), "parent directory"},
		"an absolute path":  {archive(t, "db/Chart.yaml", dbYAML, "db//etc/cron.d/x", "x"), "absolute path"},
		"a huge file":       {archive(t, "db/Chart.yaml", dbYAML, "db/big", huge), "larger than the maximum file size"},
		"a bomb":            {archive(t, append([]string{"db/Chart.yaml", dbYAML}, strings.Split(strings.Repeat("db/big\x00"+huge[:5<<20]+"\x00", 21), "\x00")[:42]...)...), "larger than the maximum size"},
		"no archive":        {"not packed at all", "gzip"},
		"half an archive":   {archive(t, "db/Chart.yaml", dbYAML, "db/x", strings.Repeat("x", 4000))[:90], "unexpected EOF"},
		"nothing within it": {archive(t), "no files in chart archive"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render(t, tree("web/Chart.yaml", needsDB, "web/charts/db-1.0.0.tgz", test.packed))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v\nwant one with %q", err, test.want)
			}
		})
	}
}

// Whatever an archive in charts/ holds, it renders or is refused, and nothing
// that is delivered comes from a name that leads out of the chart.
func FuzzPackedDependency(f *testing.F) {
	f.Add([]byte(archive(f, "db/Chart.yaml", dbYAML, "db/templates/a.yaml", "a: 1\n")))
	f.Add([]byte(archive(f, "db/Chart.yaml", dbYAML, "db/../x", "x")))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		if len(packed) > 4<<10 {
			t.Skip()
		}
		r, err := helm.Render(tree("web/Chart.yaml", needsDB, "web/charts/db-1.0.0.tgz", string(packed)), "web", kube, helm.Options{Release: "shop"})
		if err != nil {
			return
		}
		for _, file := range r.Files {
			if strings.Contains(file.Name, "..") || strings.HasPrefix(file.Name, "/") {
				t.Errorf("delivers %q", file.Name)
			}
		}
	})
}
