// Package prometheus asks a server that speaks Prometheus' HTTP API for one
// number. What the number means is decided by internal/rollout, when it is asked
// for by internal/controllers/application, and which addresses may be dialled by
// internal/egress.
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"atoll.dev/atoll/internal/egress"
)

const (
	timeout = 10 * time.Second
	// maxAnswer is far more than one number takes.
	maxAnswer = 1 << 20
	// maxTold is how much of a server's words people are shown.
	maxTold = 200
)

// Client asks. Redirects are not followed: they lead where nobody said.
type Client struct{ http *http.Client }

// New dials through the guard.
func New(guard egress.Guard) *Client {
	return &Client{&http.Client{
		Timeout:       timeout,
		Transport:     &http.Transport{DialContext: guard.DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Ask evaluates a query at this moment. That there is no number, or that there
// are several, is an error.
func (c *Client) Ask(ctx context.Context, server, query string) (float64, error) {
	form := url.Values{"query": {query}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(server, "/")+"/api/v1/query", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", server, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.http.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", server, unwrapped(err))
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the answer of %s: %w", server, err)
	case len(data) > maxAnswer:
		return 0, fmt.Errorf("the answer of %s is longer than %d bytes", server, maxAnswer)
	}
	value, err := Parse(data)
	if err != nil && response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s: %w", server, response.Status, err)
	}
	if err != nil {
		return 0, fmt.Errorf("%s answers: %w", server, err)
	}
	return value, nil
}

// unwrapped leaves out the URL, which the caller names.
func unwrapped(err error) error {
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// Parse reads the number out of an answer: a scalar, or a vector of one sample.
func Parse(data []byte) (float64, error) {
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return 0, errors.New("what is no answer of Prometheus' API")
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("the query fails: %s", told(answer.Error))
	}
	switch answer.Data.ResultType {
	case "scalar":
		return sample(answer.Data.Result)
	case "vector":
		var series []struct {
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(answer.Data.Result, &series); err != nil {
			return 0, errors.New("a vector that cannot be read")
		}
		if len(series) != 1 {
			return 0, fmt.Errorf("%d series, and not one: aggregate them, such as with sum(…), and give an empty one a value with `or vector(0)`", len(series))
		}
		return sample(series[0].Value)
	}
	return 0, fmt.Errorf("a %q, and not a number: ask for a scalar or a vector", told(answer.Data.ResultType))
}

// sample is [time, "value"].
func sample(data []byte) (float64, error) {
	var pair []any
	if err := json.Unmarshal(data, &pair); err != nil || len(pair) != 2 {
		return 0, errors.New("a sample that cannot be read")
	}
	text, _ := pair[1].(string)
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, fmt.Errorf("%q, which is no number to compare", told(text))
	}
	return value, nil
}

func told(s string) string {
	if len(s) <= maxTold {
		return strings.ToValidUTF8(s, "?")
	}
	return strings.ToValidUTF8(s[:maxTold], "?") + "…"
}
