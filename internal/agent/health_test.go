package agent

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// A probe decides whether a new version replaces the one that acts, so it must
// not say ready before the agent could take over.
func TestReadyMeansActingOrStandingByWithALink(t *testing.T) {
	h := &Health{}
	var log bytes.Buffer
	ctx, end := context.WithCancel(t.Context())
	defer end()
	h.Serve(ctx, "127.0.0.1:0", slog.New(slog.NewTextHandler(&log, nil)))
	_, address, _ := strings.Cut(strings.TrimSpace(log.String()), "address=")
	ask := func(path string) int {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	for _, step := range []struct {
		what            string
		acting, standby bool
		want            int
	}{
		{"just started", false, false, http.StatusServiceUnavailable},
		{"standing by", false, true, http.StatusOK},
		{"the hub went away", false, false, http.StatusServiceUnavailable},
		{"acting without a hub", true, false, http.StatusOK},
	} {
		h.acts(step.acting)
		h.standsBy(step.standby)
		if got := ask("/readyz"); got != step.want {
			t.Errorf("%s: ready gives %d", step.what, got)
		}
		if got := ask("/healthz"); got != http.StatusOK {
			t.Errorf("%s: alive gives %d", step.what, got)
		}
	}
}

func TestAnAddressOfEitherFamilyMayStandBeforeThePort(t *testing.T) {
	for address, want := range map[string]string{
		"10.1.2.3:8080": "10.1.2.3:8080", ":8080": ":8080", "fd00::1:8080": "[fd00::1]:8080", "[::1]:8080": "[::1]:8080",
	} {
		if got := bracketed(address); got != want {
			t.Errorf("%s became %s", address, got)
		}
	}
}
