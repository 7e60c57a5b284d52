package fleet_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/fleet"
)

func TestAHubThatIsAboutToAnswerIsAskedAgain(t *testing.T) {
	asked := 0
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) == 0 {
			t.Errorf("asked with %q: %v", body, err)
		}
		if asked++; asked == 1 {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "the hub is starting", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "{}")
	}))
	defer hub.Close()
	c, err := fleet.NewClient(&rest.Config{Host: hub.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Join(t.Context(), "eu-1", fleet.JoinRequest{}); err != nil || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// An API server in front of a hub that has just come finds it a moment later.
func TestAHubThatWasNotFoundYetIsAskedAgain(t *testing.T) {
	asked := 0
	aggregator := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			http.Error(w, "service unavailable", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "{}")
	}))
	defer aggregator.Close()
	c, err := fleet.NewClient(&rest.Config{Host: aggregator.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Overview(t.Context()); err != nil || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestARefusalIsNotAskedAgain(t *testing.T) {
	asked := 0
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		http.Error(w, "no room", http.StatusServiceUnavailable)
	}))
	defer hub.Close()
	c, err := fleet.NewClient(&rest.Config{Host: hub.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Overview(t.Context()); err == nil || !strings.Contains(err.Error(), "no room") || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
