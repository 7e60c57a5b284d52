package push_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/alert/push"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

type told struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
}

// manager is an Alertmanager as its API's description has it; it hands over what
// it is told as it is told.
func manager(t *testing.T, answer func(w http.ResponseWriter)) (address string, posts chan []told) {
	t.Helper()
	posts = make(chan []told)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body []told
		user, password, _ := r.BasicAuth()
		if r.Method != http.MethodPost || r.URL.Path != "/prefix/api/v2/alerts" || r.Header.Get("Content-Type") != "application/json" || user+password != "hubsecret" {
			t.Errorf("asked %s %s by %s", r.Method, r.URL, user)
		}
		if json.NewDecoder(r.Body).Decode(&body) != nil {
			w.WriteHeader(http.StatusBadRequest) // of a hub that was stopped meanwhile
			return
		}
		answer(w)
		select {
		case posts <- body:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http://", "http://hub:secret@", 1) + "/prefix", posts
}

func takes(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }

// alerts is what holds, as a test says.
type alerts struct {
	mu  sync.Mutex
	all []alert.Alert
}

func (a *alerts) are(all ...alert.Alert) { a.mu.Lock(); a.all = all; a.mu.Unlock() }

func (a *alerts) get(context.Context) ([]alert.Alert, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all, nil
}

var lost = alert.Alert{
	Name: alert.ClusterDisconnected, Severity: alert.Critical, Labels: map[string]string{"cluster": "a", "owner": "platform"},
	Count: 1, Named: []string{"a"}, Summary: "cluster a: lost", Do: "atoll describe cluster a", Since: now.Add(-time.Hour),
}

func run(t *testing.T, a *alerts, receivers ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := push.Run(ctx, push.Options{Receivers: receivers, Alerts: a.get, Hub: "7f3a", Every: time.Millisecond,
			Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func TestWhatFiresIsToldAgainAndAgainAndItsEndOnce(t *testing.T) {
	address, posts := manager(t, takes)
	a := &alerts{}
	a.are(lost)
	stop := run(t, a, address)
	want := []told{{
		Labels:      map[string]string{"alertname": "ClusterDisconnected", "severity": "critical", "cluster": "a", "owner": "platform", "atoll_hub": "7f3a"},
		Annotations: map[string]string{"summary": "cluster a: lost", "do": "atoll describe cluster a", "count": "1", "named": "a"},
		StartsAt:    now.Add(-time.Hour), EndsAt: now.Add(10 * push.Every),
	}}
	for range 2 {
		if d := cmp.Diff(want, <-posts); d != "" {
			t.Fatal(d)
		}
	}
	stop()

	// A hub that starts again says the very same: for the receiver it is no new alert.
	stop = run(t, a, address)
	if d := cmp.Diff(want, <-posts); d != "" {
		t.Error(d)
	}
	other := lost
	other.Labels = map[string]string{"cluster": "b"}
	a.are(other)
	ended := want[0]
	ended.EndsAt = now
	for saw := false; !saw; {
		for _, one := range <-posts {
			saw = saw || cmp.Equal(ended, one)
		}
	}
	for range 2 {
		if next := <-posts; len(next) != 1 || next[0].Labels["cluster"] != "b" {
			t.Errorf("what ended is told again: %v", next)
		}
	}
	stop()
}

func TestAReceiverThatIsDownKeepsNobodyAndHearsOfTheEndLater(t *testing.T) {
	well, posts := manager(t, takes)
	var mu sync.Mutex
	down := false
	ill, attempts := manager(t, func(w http.ResponseWriter) {
		mu.Lock()
		defer mu.Unlock()
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	fail := func(is bool) { mu.Lock(); down = is; mu.Unlock() }
	a := &alerts{}
	a.are(lost)
	run(t, a, "http://127.0.0.1:1", ill, well)
	<-posts
	<-attempts
	<-attempts // so the first was answered and taken
	fail(true)
	a.are()
	for ended := false; !ended; { // while the other is not even read from
		for _, one := range <-posts {
			ended = ended || one.EndsAt.Equal(now)
		}
	}
	fail(false)
	for ended := false; !ended; {
		for _, one := range <-attempts {
			ended = ended || one.EndsAt.Equal(now)
		}
	}
}

func TestAnAddressThatIsNoneIsRefusedWithoutItsPassword(t *testing.T) {
	for _, address := range []string{"alertmanager:9093", "ftp://u:hunter2@host", "http://", "http://u:hunter2@host/?a=b", "http://u:hunter2@[::1", "http://h#x"} {
		_, err := push.ParseURL(address)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := push.ParseURL("https://u:p@host/am/"); err != nil {
		t.Error(err)
	}
}
