// Package push keeps Alertmanagers told of what alerts: all of it, again and
// again, as Prometheus does, so that one which was restarted or away knows it
// within a period. What alerts is decided in internal/alert.
//
// Each receiver has a loop of its own, and none of them is waited for: one that is
// down or slow keeps nobody, and least of all the hub.
package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"atoll.dev/atoll/internal/alert"
)

const (
	// Every is how often what alerts is told.
	Every = 30 * time.Second
	// holds is for how long a receiver believes what it was told last. A hub that is
	// started again has said it anew well before.
	holds = 10 * Every
	// timeout is for one attempt.
	timeout = 15 * time.Second
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 4 << 10
)

// Options say whom to tell of what.
type Options struct {
	// Receivers are base addresses of Alertmanagers, as ParseURL takes them.
	Receivers []string
	// Alerts are those of now.
	Alerts func(context.Context) ([]alert.Alert, error)
	// Hub is who tells: the label atoll_hub of every alert.
	Hub   string
	Every time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// ParseURL reads the base address of an Alertmanager, such as
// http://alertmanager.monitoring:9093 or https://USER:PASSWORD@HOST/PREFIX.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("it is no URL") // and is not repeated: there may be a password in it
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%s is no address of an Alertmanager, such as http://HOST:9093", u.Redacted())
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s has more than a path: give the address that stands before /api/v2", u.Redacted())
	}
	return u, nil
}

// Run tells all receivers until ctx ends.
func Run(ctx context.Context, o Options) error {
	var loops sync.WaitGroup
	for _, text := range o.Receivers {
		base, err := ParseURL(text)
		if err != nil {
			return err
		}
		r := &receiver{Options: o, base: base, client: &http.Client{
			Timeout:       timeout,
			Transport:     http.DefaultTransport.(*http.Transport).Clone(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}, told: map[string]posted{}}
		loops.Go(func() { r.run(ctx) })
	}
	loops.Wait()
	return nil
}

// receiver is one Alertmanager, and what it believes.
type receiver struct {
	Options
	base   *url.URL
	client *http.Client
	// told is what it took last as firing, by ID.
	told    map[string]posted
	failing bool
}

func (r *receiver) run(ctx context.Context) {
	defer r.client.CloseIdleConnections()
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for {
		r.say(r.tell(ctx), ctx.Err() == nil)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// say logs what turned, and not every attempt.
func (r *receiver) say(err error, mind bool) {
	switch {
	case !mind:
	case err != nil && !r.failing:
		r.failing = true
		r.Log.Warn("an Alertmanager is not told what alerts, and is tried again", "alertmanager", r.base.Redacted(), "every", r.Every, "err", err)
	case err == nil && r.failing:
		r.failing = false
		r.Log.Info("an Alertmanager is told again what alerts", "alertmanager", r.base.Redacted())
	}
}

// posted is a postableAlert of Alertmanager's API
// (github.com/prometheus/alertmanager, api/v2/openapi.yaml).
type posted struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    *time.Time        `json:"startsAt,omitempty"`
	EndsAt      time.Time         `json:"endsAt"`
}

// tell posts all that fires, and once what does no longer.
func (r *receiver) tell(ctx context.Context) error {
	alerts, err := r.Alerts(ctx)
	if err != nil {
		return err
	}
	now := r.Now().UTC()
	firing := map[string]posted{}
	body := make([]posted, 0, len(alerts)+len(r.told))
	for _, a := range alerts {
		p := r.post(a, now.Add(holds))
		firing[a.ID()] = p
		body = append(body, p)
	}
	for id, p := range r.told {
		if _, ok := firing[id]; !ok {
			p.EndsAt = now
			if p.StartsAt != nil && p.StartsAt.After(now) {
				p.EndsAt = *p.StartsAt // the clock was set back; what ends before it begins is refused
			}
			body = append(body, p)
		}
	}
	if len(body) == 0 {
		return nil
	}
	if err := r.send(ctx, body); err != nil {
		return err
	}
	r.told = firing
	return nil
}

func (r *receiver) post(a alert.Alert, ends time.Time) posted {
	p := posted{
		Labels:      map[string]string{"alertname": a.Name, "severity": string(a.Severity), "atoll_hub": r.Hub},
		Annotations: map[string]string{"summary": a.Summary, "do": a.Do, "count": fmt.Sprint(a.Count)},
		EndsAt:      ends,
	}
	for k, v := range a.Labels {
		p.Labels[k] = v
	}
	if len(a.Named) > 0 {
		p.Annotations["named"] = strings.Join(a.Named, ", ")
	}
	if !a.Since.IsZero() {
		p.StartsAt = &a.Since
	}
	return p
}

func (r *receiver) send(ctx context.Context, body []posted) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode alerts: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base.JoinPath("api/v2/alerts").String(), bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("prepare to tell %s: %w", r.base.Redacted(), err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "atoll")
	response, err := r.client.Do(request)
	if err != nil {
		return err // it names the address, without its password
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // for people; little depends on it
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s: %s", r.base.Redacted(), response.Status, bytes.TrimSpace(answer))
	}
	return nil
}
