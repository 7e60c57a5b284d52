package standin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// view is which objects are asked for, and how much of each.
type view struct {
	gvr       schema.GroupVersionResource
	kind      string
	namespace string
	name      string
	labels    labels.Selector
	partial   bool // metadata only
}

func (v view) shows(key nameKey, l map[string]string) bool {
	return (v.namespace == "" || v.namespace == key.namespace) && (v.name == "" || v.name == key.name) && v.labels.Matches(labels.Set(l))
}

// encode is an object as the client asked for it.
func (v view) encode(body []byte) ([]byte, error) {
	if !v.partial {
		return body, nil
	}
	var o struct {
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, fmt.Errorf("read the metadata of an object: %w", err)
	}
	return json.Marshal(map[string]any{"apiVersion": metav1.SchemeGroupVersion.String(), "kind": "PartialObjectMetadata", "metadata": o.Metadata})
}

// stream is the body of a watch's answer. It has no goroutine of its own:
// whoever reads it waits in it.
type stream struct {
	member *Member
	view   view
	ctx    context.Context // of the request, which ends the watch
	until  time.Time
	stop   context.CancelFunc

	cursor  uint64
	initial []*record // to be told as added, first
	pending bytes.Buffer
	ended   error
}

// watch answers a watch; m.mu is held.
func (m *Member) watch(r *http.Request, v view) (*http.Response, error) {
	q := r.URL.Query()
	ctx, stop := context.WithCancel(r.Context())
	s := &stream{member: m, view: v, ctx: ctx, stop: stop, until: time.Now().Add(30 * time.Minute)}
	if seconds, err := strconv.Atoi(q.Get("timeoutSeconds")); err == nil && seconds > 0 {
		s.until = time.Now().Add(time.Duration(seconds) * time.Second)
	}
	switch from := q.Get("resourceVersion"); from {
	case "", "0":
		s.cursor = m.version
		for _, key := range m.of(v.gvr).keys() {
			if rec := m.of(v.gvr).records[key]; v.shows(key, rec.labels) {
				s.initial = append(s.initial, rec)
			}
		}
	default:
		version, err := strconv.ParseUint(from, 10, 64)
		if err != nil {
			stop()
			return nil, apierrors.NewBadRequest(fmt.Sprintf("resourceVersion %q is no version", from))
		}
		s.cursor = version
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: s, ContentLength: -1, Request: r,
	}, nil
}

// Read waits for the next event.
func (s *stream) Read(p []byte) (int, error) {
	for s.pending.Len() == 0 {
		if s.ended != nil {
			return 0, s.ended
		}
		wake, err := s.gather()
		switch {
		case err != nil:
			return 0, err
		case s.pending.Len() > 0 || s.ended != nil:
			continue
		}
		if err := s.wait(wake); err != nil {
			return 0, err
		}
	}
	return s.pending.Read(p) //nolint:wrapcheck // a buffer that is not empty
}

// wait returns when something may have happened.
func (s *stream) wait(wake <-chan struct{}) error {
	timer := time.NewTimer(time.Until(s.until))
	defer timer.Stop()
	select {
	case <-wake:
		return nil
	case <-s.member.closed:
		return io.ErrUnexpectedEOF
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-timer.C:
		s.ended = io.EOF
		return s.bookmark()
	}
}

// gather encodes what happened since the cursor.
func (s *stream) gather() (<-chan struct{}, error) {
	m := s.member
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, io.ErrUnexpectedEOF
	}
	r := m.of(s.view.gvr)
	for _, rec := range s.initial {
		if err := s.event(watch.Added, rec.body); err != nil {
			return nil, err
		}
	}
	s.initial = nil
	if s.cursor < r.dropped {
		s.ended = io.EOF
		status := apierrors.NewResourceExpired("too old resource version").ErrStatus
		status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
		return nil, s.frame(watch.Error, status)
	}
	for _, c := range r.history {
		if c.record.version <= s.cursor {
			continue
		}
		s.cursor = c.record.version
		kind, shown := s.view.sees(c)
		if kind == "" {
			continue
		}
		if err := s.event(kind, shown.body); err != nil {
			return nil, err
		}
	}
	return r.wake, nil
}

// sees is what a change is to this view, and the object to show: one whose
// labels stop matching is gone, and was last what it had been before.
func (v view) sees(c change) (watch.EventType, *record) {
	now := c.kind != watch.Deleted && v.shows(c.record.nameKey, c.record.labels)
	before := c.before != nil && v.shows(c.before.nameKey, c.before.labels)
	switch {
	case now && before:
		return watch.Modified, c.record
	case now:
		return watch.Added, c.record
	case before:
		return watch.Deleted, c.before.as(c.record.version)
	default:
		return "", nil
	}
}

func (s *stream) event(kind watch.EventType, body []byte) error {
	object, err := s.view.encode(body)
	if err != nil {
		return err
	}
	return s.frame(kind, json.RawMessage(object))
}

func (s *stream) frame(kind watch.EventType, object any) error {
	frame, err := json.Marshal(map[string]any{"type": kind, "object": object})
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	s.pending.Write(frame)
	s.pending.WriteByte('\n')
	return nil
}

// bookmark tells, as the last word, up to where nothing was missed.
func (s *stream) bookmark() error {
	s.member.mu.Lock()
	version := s.cursor
	if r := s.member.of(s.view.gvr); len(r.history) == 0 || r.history[len(r.history)-1].record.version <= s.cursor {
		version = s.member.version
	}
	s.member.mu.Unlock()
	object := map[string]any{"apiVersion": s.view.gvr.GroupVersion().String(), "kind": s.view.kind,
		"metadata": map[string]any{"resourceVersion": strconv.FormatUint(version, 10)}}
	if s.view.partial {
		object["apiVersion"], object["kind"] = metav1.SchemeGroupVersion.String(), "PartialObjectMetadata"
	}
	return s.frame(watch.Bookmark, object)
}

// Close ends the watch.
func (s *stream) Close() error {
	s.stop()
	return nil
}
