package helm

import (
	"testing"

	"atoll.dev/atoll/internal/source"
)

// Whatever an index holds, what is kept of it can be asked for.
func FuzzIndex(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nentries:\n  web:\n  - {version: 1.0.0, urls: [a.tgz], digest: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824}\n"))
	f.Add([]byte(`{"entries": {"web": [null, {"version": "1.0.0", "urls": []}]}}`))
	f.Add([]byte("entries: {web: &a [*a]}"))
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
