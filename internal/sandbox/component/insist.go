package component

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// askAgain is how soon an API server is asked again that did not answer.
const askAgain = 100 * time.Millisecond

// unanswered is for how long a server that does answer may fail one request.
const unanswered = 30 * time.Second

// insistent is a configuration whose requests outlast a killed API server.
// Without it a watch comes back up to a minute after the server, KWOK gives a
// pod up when the answer to its write was lost, and waits longer with every
// write that was refused, for up to half an hour.
func insistent(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return insister{next} })
	return config
}

// insister repeats what means the same when it is said twice, and what was
// never heard.
type insister struct{ next http.RoundTripper }

var repeatable = []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut, http.MethodDelete}

// RoundTrip returns when there is an answer, or when the caller's context ends.
func (i insister) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		if request.GetBody == nil {
			return i.next.RoundTrip(request)
		}
		defer request.Body.Close() // what is sent are copies of it
	}
	for began := time.Now(); ; {
		response, err := i.once(request)
		if !unheard(request.Method, response, err, time.Since(began)) {
			return response, err
		}
		select {
		case <-request.Context().Done():
			return response, err
		case <-time.After(askAgain):
		}
		if response != nil {
			response.Body.Close()
		}
	}
}

// unheard is whether a request should be said again.
func unheard(method string, response *http.Response, err error, since time.Duration) bool {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return true
	case !slices.Contains(repeatable, method):
		return false
	case err != nil:
		return true
	}
	return response.StatusCode >= http.StatusInternalServerError && since < unanswered
}

// once has read the whole answer to a write, so that one that breaks off
// counts as lost.
func (i insister) once(request *http.Request) (*http.Response, error) {
	again := request.Clone(request.Context())
	if request.Body != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, fmt.Errorf("repeat %s %s: %w", request.Method, request.URL.Path, err)
		}
		again.Body = body
	}
	response, err := i.next.RoundTrip(again)
	if err != nil || request.Method == http.MethodGet { // which may be a watch, and is repeated by its caller
		return response, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", request.Method, request.URL.Path, err)
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	return response, nil
}
