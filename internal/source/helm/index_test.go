package helm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/source"
)

// Whatever an index holds, what is kept of it can be asked for.
func FuzzIndex(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nentries:\n  web:\n  - {version: 1.0.0, urls: [a.tgz], digest: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824}\n"))
	f.Add([]byte(`{"entries": {"web": [null, {"version": "1.0.0", "urls": []}]}}`))
	f.Add([]byte("entries: {web: &a [*a]}"))
	f.Add([]byte(`{"entries": {"web": [{"version": "1.0.0", "urls": [""]}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4<<10 {
			t.Skip()
		}
		x, err := parseIndex(data, 10)
		if err != nil {
			return
		}
		count := 0
		for _, all := range x.charts {
			for _, e := range all {
				count++
				if e.version == "" || e.url == "" || e.digest != "" && !source.IsDigest(e.digest) {
					t.Errorf("%+v", e)
				}
			}
		}
		if count > 10 || count > 0 && x.weight == 0 {
			t.Errorf("%d versions of %d bytes", count, x.weight)
		}
	})
}

// written is an index as Helm writes it, with what may stand between its lines.
const written = `---
# generated
apiVersion: v1
entries:
  db:
  - annotations:
      changes: |
        - kind: added

        # no comment
          web: none
    created: "2026-05-04T12:00:00.5Z"
    dependencies:
    - name: web
      version: 1.x
    description: 'a long one, which
      goes on'
    digest: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
    name: db
    urls:
    - db-1.0.0.tgz
    - https://elsewhere/db-1.0.0.tgz
    version: 1.0.0

  # the next
  "web": 
  - {version: 2.0.0, urls: [web-2.0.0.tgz]}
  - version: 1.0
    urls: [web-1.0.tgz]
  none: []
generated: "2026-05-04T12:00:00.5Z"
`

// What is read piece by piece is what is read as a whole.
func TestAnIndexIsCutWhereItsChartsBegin(t *testing.T) {
	if n := len(pieces([]byte(written))); n != 3 {
		t.Errorf("it is cut into %d", n)
	}
	got, err := parseIndex([]byte(written), 10)
	if err != nil {
		t.Fatal(err)
	}
	whole := index{charts: map[string][]entry{}}
	if err := whole.add([]byte(written), 10); err != nil {
		t.Fatal(err)
	}
	same := cmp.AllowUnexported(index{}, entry{})
	if d := cmp.Diff(whole, got, same); d != "" || got.count != 3 {
		t.Errorf("%d versions\n%s", got.count, d)
	}
	strict := strings.ReplaceAll(written, "version: 1.0\n", "version: '1'\n") // as YAML has it
	asJSON, err := yaml.YAMLToJSON([]byte(strict))
	if err != nil {
		t.Fatal(err)
	}
	if got, err = parseIndex(asJSON, 10); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(whole, got, same); d != "" {
		t.Errorf("as JSON: %s", d)
	}
}

// What is short as it is written must not take the hub's memory, nor the time of
// those who wait for their turn.
func TestAnIndexThatUnfoldsIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, words string }{
		"many charts":              {"entries:\n" + strings.Repeat("  a:\n", 11), "more than 10 charts"},
		"a version with many URLs": {`{"entries":{"a":[{"version":"1.0.0","urls":["x"` + strings.Repeat(`,""`, maxEntry/3) + `]}]}}`, "more than 1 MiB"},
		"many versions":            {`{"entries":{"a":[null` + strings.Repeat(`,{}`, 11) + `]}}`, "more than 10 versions"},
		"no entries":               {`{"apiVersion":"v1"}`, "no entries"},
		"cut off":                  {`{"entries":{"a":[{"version":"1.0.0"`, "cannot be read"},
		"more than one":            {`{"entries":{}}{}`, "follows its end"},
		"another form":             {`{"entries":["a"]}`, "cannot be read"},
	} {
		if _, err := parseIndex([]byte(c.text), 10); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALargeIndexIsReadChartByChart(t *testing.T) {
	var blocks, flow strings.Builder
	for n := range 40_000 {
		if n%1000 == 0 {
			fmt.Fprintf(&blocks, "  c%d:\n", n)
		}
		fmt.Fprintf(&blocks, "  - version: 1.%d.0\n    urls:\n    - charts/c-1.%d.0.tgz\n", n, n)
		fmt.Fprintf(&flow, "{version: 1.%d.0, urls: [charts/c-1.%d.0.tgz], name: a-chart-with-a-name},", n, n)
	}
	x, err := parseIndex([]byte("entries:\n"+blocks.String()), 100_000)
	if err != nil || len(x.charts) != 40 || x.count != 40_000 {
		t.Errorf("%d charts of %d versions, %v", len(x.charts), x.count, err)
	}
	for name, text := range map[string]string{"in another form": "entries: {c: [" + flow.String() + "]}", "of one chart": "entries:\n  c:\n  - " + strings.ReplaceAll(flow.String(), "},", "}\n  - ")} {
		if _, err := parseIndex([]byte(text), 100_000); err == nil || !strings.Contains(err.Error(), "--json") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
