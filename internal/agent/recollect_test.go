package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/recovery"
	"atoll.dev/atoll/internal/wire"
)

// Whoever asks of an agent what it runs is a hub that has lost it. One that is
// followed learns nothing in this way, and nobody learns a value of a Secret.
func TestOnlyAHubOfAnotherHistoryIsToldWhatRuns(t *testing.T) {
	m, _ := remembering(t, &shelf{})
	web, webData := bundleOf(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: "${atoll:cluster.region} $${atoll:x}"}}`)
	pass, passData := bundleOf(t, `{apiVersion: v1, kind: Secret, metadata: {name: x}, stringData: {a: canary-value}}`)
	root := rootOf(t,
		desired.Entry{Key: key("web"), UID: "u", Generation: 1, Content: web, Namespace: "demo-web",
			Bindings: map[string]string{"cluster.region": "eu", "cluster.label.unused": "x", "var.color": "red"}},
		desired.Entry{Key: desired.Key{Project: "other", Application: "pass"}, UID: "v", Generation: 1, Content: pass},
	)
	if err := m.announce(desired.Whole(root), first, ""); err != nil {
		t.Fatal(err)
	}
	for d, data := range map[desired.Digest][]byte{web: webData, pass: passData} {
		if err := m.keep(&assembled{digest: d, data: data, values: []wire.SealedValue{{Ref: "r", Sealed: []byte("sealed-value")}}}); err != nil {
			t.Fatal(err)
		}
	}
	a := &agent{memory: m, Options: Options{Bootstrap: join.Ticket{Cluster: "c"}}}
	tun, err := newTunnel(&rest.Config{Host: "https://127.0.0.1:1"}, func() Forbidden { return Forbidden{} }, a.local(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(from wire.Stamp, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/agent/memory"+path, nil)
		w := httptest.NewRecorder()
		tun.answer(w, r.WithContext(context.WithValue(r.Context(), headerKey{}, wire.StreamHeader{Kind: wire.StreamHTTP, Stamp: from})))
		return w
	}
	told := func(from wire.Stamp) recovery.Memory {
		t.Helper()
		w := ask(from, "")
		var out recovery.Memory
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		if strings.Contains(w.Body.String(), "sealed-value") || strings.Contains(w.Body.String(), "canary-value") {
			t.Errorf("it tells a value: %s", w.Body)
		}
		return out
	}
	another := wire.Stamp{Incarnation: "rebuilt", Term: 1}
	contents := func(project string, d desired.Digest) string { return "/" + project + "/contents/" + string(d) }

	if out := told(first); !out.Follows || len(out.Applications) != 0 {
		t.Errorf("the hub that is followed is told %+v", out)
	}
	if w := ask(first, contents("demo", web)); w.Code != http.StatusNotFound {
		t.Errorf("the hub that is followed gets content: %d", w.Code)
	}
	out := told(another)
	if out.Follows || out.Cluster != "c" || out.Incarnation != first.Incarnation || len(out.Applications) != 2 {
		t.Fatalf("another is told %+v", out)
	}
	got, secret := out.Applications[0], out.Applications[1]
	if got.Content != web || got.Namespace != "demo-web" || !got.LateBinding || len(got.Bindings) != 2 || got.Bindings["cluster.region"] != "eu" || got.Bindings["var.color"] != "red" {
		t.Errorf("of the first it is told %+v", got)
	}
	if secret.Secrets != 1 || secret.LateBinding {
		t.Errorf("of the second it is told %+v", secret)
	}
	if w := ask(another, contents("demo", web)); w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), webData) {
		t.Errorf("it gets %d %s", w.Code, w.Body)
	}
	for _, path := range []string{contents("other", web), contents("demo", pass), contents("demo", desired.Sum(nil)), contents("demo", "..")} {
		if w := ask(another, path); w.Code == http.StatusOK {
			t.Errorf("%s gives %s", path, w.Body)
		}
	}

	// Once a person lets it follow, the hub knows for itself.
	if err := m.announce(desired.Whole(root), another, another.Incarnation); err != nil {
		t.Fatal(err)
	}
	if out := told(another); !out.Follows || len(out.Applications) != 0 {
		t.Errorf("followed, it is told %+v", out)
	}
}
