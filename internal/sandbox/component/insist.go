package component

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"k8s.io/client-go/rest"
)

// askAgain is how soon a write is tried again that an API server did not answer.
const askAgain = 100 * time.Millisecond

// unanswered is for how long a server that answers may fail one write.
const unanswered = 30 * time.Second

// insistent is a configuration whose writes outlast a killed API server. KWOK
// gives a pod up when the answer to its write was lost, and waits longer with
// every write that was refused, for up to half an hour; a kubelet does neither.
func insistent(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return insister{next} })
	return config
}

// insister repeats what means the same when it is said twice.
type insister struct{ next http.RoundTripper }

var repeatable = []string{http.MethodPatch, http.MethodPut, http.MethodDelete}

// RoundTrip returns when there is an answer, or when the caller's context ends.
func (i insister) RoundTrip(request *http.Request) (*http.Response, error) {
	if !slices.Contains(repeatable, request.Method) || (request.Body != nil && request.GetBody == nil) {
		return i.next.RoundTrip(request)
	}
	if request.Body != nil {
		defer request.Body.Close() // what is sent are copies of it
	}
	for began := time.Now(); ; {
		response, err := i.once(request)
		if err == nil && (response.StatusCode < http.StatusInternalServerError || time.Since(began) > unanswered) {
			return response, nil
		}
		select {
		case <-request.Context().Done():
			return response, err
		case <-time.After(askAgain):
		}
	}
}

// once has read the whole answer, so that one that breaks off counts as lost.
func (i insister) once(request *http.Request) (*http.Response, error) {
	again := request.Clone(request.Context())
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, fmt.Errorf("repeat %s %s: %w", request.Method, request.URL.Path, err)
		}
		again.Body = body
	}
	response, err := i.next.RoundTrip(again)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", request.Method, request.URL.Path, err)
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	return response, nil
}
