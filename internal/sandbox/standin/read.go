package standin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (m *Member) read(req request) (*http.Response, error) {
	q := req.URL.Query()
	switch {
	case q.Get("watch") == "true" || q.Get("watch") == "1":
		m.requests["watch"]++
		return m.watch(req.Request, req.view)
	case req.single:
		m.requests["get"]++
		rec := m.find(req.gvr, req.namespace, req.name)
		if rec == nil {
			return nil, apierrors.NewNotFound(req.gvr.GroupResource(), req.name)
		}
		return req.answer(http.StatusOK, rec)
	default:
		m.requests["list"]++
		return m.list(req)
	}
}

func (req request) answer(code int, rec *record) (*http.Response, error) {
	body, err := req.encode(rec.body)
	if err != nil {
		return nil, err
	}
	return answerBody(req.Request, code, body)
}

// list answers a page. What changed between two pages is seen by a watch from
// the version of the first, which every page carries.
func (m *Member) list(req request) (*http.Response, error) {
	q := req.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit")) // 0 is all, as for a number that is none
	version, after := strconv.FormatUint(m.version, 10), nameKey{}
	if token := q.Get("continue"); token != "" {
		parts := strings.Split(token, "/")
		if len(parts) != 3 {
			return nil, apierrors.NewBadRequest("the continue token is not one that was given out")
		}
		version, after = parts[0], nameKey{parts[1], parts[2]}
	}
	meta := metav1.ListMeta{ResourceVersion: version}
	var items [][]byte
	r := m.of(req.gvr)
	for _, key := range r.keys() {
		rec := r.records[key]
		if after != (nameKey{}) && key.compare(after) <= 0 || !req.shows(key, rec.labels) {
			continue
		}
		if limit > 0 && len(items) == limit {
			meta.Continue = fmt.Sprintf("%s/%s/%s", version, after.namespace, after.name)
			break
		}
		body, err := req.encode(rec.body)
		if err != nil {
			return nil, err
		}
		items, after = append(items, body), key
	}
	return req.answerList(meta, items)
}

func (req request) answerList(meta metav1.ListMeta, items [][]byte) (*http.Response, error) {
	apiVersion, kind := req.gvr.GroupVersion().String(), req.kind
	if req.partial {
		apiVersion, kind = metav1.SchemeGroupVersion.String(), "PartialObjectMetadata"
	}
	header, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("encode a list: %w", err)
	}
	var body bytes.Buffer
	fmt.Fprintf(&body, `{"kind":%q,"apiVersion":%q,"metadata":%s,"items":[`, kind+"List", apiVersion, header)
	body.Write(bytes.Join(items, []byte(",")))
	body.WriteString("]}")
	return answerBody(req.Request, http.StatusOK, body.Bytes())
}
