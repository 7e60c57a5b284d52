package agent

import (
	"testing"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/wire"
)

func TestContentThatCameWithItsChangeIsThere(t *testing.T) {
	m, _ := remembering(t, &shelf{})
	digest, data := bundleOf(t, configMap)
	other, unneeded := bundleOf(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: other}}`)
	untrue := desired.Sum([]byte("untrue"))
	root := rootOf(t,
		desired.Entry{Key: key("a"), UID: "u", Generation: 1, Content: digest},
		desired.Entry{Key: key("b"), UID: "u", Generation: 1, Content: untrue})
	whole := func(d desired.Digest, data []byte) *wire.Content {
		return &wire.Content{Digest: d, Size: int64(len(data)), Data: data}
	}
	if err := m.announce(desired.Whole(root), first, "", whole(digest, data), whole(other, unneeded), whole(untrue, data)); err != nil {
		t.Fatal(err)
	}
	if got := m.missing(); len(got) != 1 || got[0] != untrue {
		t.Errorf("missing %v", got)
	}
	if len(m.contents.missing([]desired.Digest{other})) == 0 {
		t.Error("what no application needs is kept")
	}
}
