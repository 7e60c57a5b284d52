package traffic

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"sync/atomic"
	"time"
)

// SlowAnswer is how long a container with a :slow image takes to answer.
const SlowAnswer = 2 * time.Second

// A container with a :flaky image fails its third request, and every third
// after that: the same whoever asks, and whenever.
const flakyEvery = 3

var (
	slowImage  = regexp.MustCompile(`:slow(@|$)`)
	flakyImage = regexp.MustCompile(`:flaky(@|$)`)
)

// Answer is what a simulated container says to every HTTP request.
type Answer struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Node      string `json:"node"`
	Image     string `json:"image"`
	Container string `json:"container"`
	Port      int32  `json:"port"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	// Request counts this container's requests, from 1.
	Request int64  `json:"request"`
	Error   string `json:"error,omitempty"`
}

// container answers for one container of a pod, and keeps its log. It lives
// as long as its pod does: its log outlasts its listeners.
type container struct {
	identity Answer // without what each request adds
	requests atomic.Int64
	meter    meter
	journal  journal
}

// serve answers at one port of the container.
func (c *container) serve(port int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, status := time.Now(), http.StatusOK
		answer := c.identity
		answer.Port, answer.Method, answer.Path = port, r.Method, r.URL.Path
		answer.Request = c.requests.Add(1)
		c.meter.add(start)
		if r.URL.Path != "/healthz" {
			status, answer.Error = c.behave(r, answer.Request)
		}
		// Before the answer: whoever has it finds it in the log.
		c.journal.add(fmt.Sprintf("%s %q %d %s", hostOf(r.RemoteAddr), r.Method+" "+r.URL.RequestURI(), status, time.Since(start).Round(time.Millisecond)))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_ = json.NewEncoder(w).Encode(answer) // the caller has gone
		}
	})
}

// behave does as the image's tag says.
func (c *container) behave(r *http.Request, request int64) (status int, problem string) {
	if slowImage.MatchString(c.identity.Image) {
		select {
		case <-time.After(SlowAnswer):
		case <-r.Context().Done():
		}
	}
	if flakyImage.MatchString(c.identity.Image) && request%flakyEvery == 0 {
		return http.StatusServiceUnavailable, fmt.Sprintf("a flaky image fails every request whose number is a multiple of %d", flakyEvery)
	}
	return http.StatusOK, ""
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
