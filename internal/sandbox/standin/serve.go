package standin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
)

// errDown is what dialling a dead API server gives.
var errDown = fmt.Errorf("dial the API server: %w", syscall.ECONNREFUSED)

// errLost is an answer that never came.
var errLost = fmt.Errorf("read the API server's answer: %w", io.ErrUnexpectedEOF)

// maxBody is what an API server takes.
const maxBody = 3 << 20

// request is one call, taken apart.
type request struct {
	*http.Request
	view
	single     bool // one object is named
	namespaced bool
	body       []byte
}

// RoundTrip answers as an API server. Its error means that there was no answer.
func (m *Member) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		_ = r.Body.Close() // what was read is all there is
		if err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
	}
	m.mu.Lock()
	ask := m.interfere
	m.mu.Unlock()
	var fault Fault
	if ask != nil {
		fault = ask(r)
	}
	if err := pause(r, fault.Delay); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	if fault.Refuse != nil {
		return answerError(r, fault.Refuse)
	}
	answer, err := m.answer(r, body)
	if fault.Lose {
		return nil, errLost
	}
	if err != nil {
		return answerError(r, err)
	}
	return answer, nil
}

func pause(r *http.Request, d time.Duration) error {
	if d <= 0 {
		return r.Context().Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.Context().Done():
		return r.Context().Err()
	case <-t.C:
		return nil
	}
}

func (m *Member) answer(r *http.Request, body []byte) (*http.Response, error) {
	if len(body) > maxBody {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d bytes", maxBody))
	}
	body, err := asJSON(body)
	if err != nil {
		return nil, err
	}
	if found, err := m.discovery(r); found != nil || err != nil {
		return found, err
	}
	req, err := m.parse(r, body)
	if err != nil {
		return nil, err
	}
	switch r.Method {
	case http.MethodGet:
		return m.read(req)
	case http.MethodPost:
		m.requests["create"]++
		return m.create(req)
	case http.MethodPut:
		m.requests["update"]++
		return m.update(req)
	case http.MethodPatch:
		return m.patch(req)
	case http.MethodDelete:
		m.requests["delete"]++
		return m.delete(req)
	}
	return nil, apierrors.NewMethodNotSupported(req.gvr.GroupResource(), r.Method)
}

// ofProtobuf is how every body in Kubernetes' protobuf begins.
var ofProtobuf = []byte("k8s\x00")

var protobufs = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)

// asJSON is a body as JSON: typed clients send protobuf.
func asJSON(body []byte) ([]byte, error) {
	if !bytes.HasPrefix(body, ofProtobuf) {
		return body, nil
	}
	o, gvk, err := protobufs.Decode(body, nil, nil)
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body is no protobuf: %v", err))
	}
	o.GetObjectKind().SetGroupVersionKind(*gvk)
	out, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode a body as JSON: %w", err)
	}
	return out, nil
}

// discovery answers what is no object; nil if r asks for one.
func (m *Member) discovery(r *http.Request) (*http.Response, error) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodPost && len(parts) == 4 && parts[1] == "authorization.k8s.io":
		return m.mayDo(r, parts[3])
	case r.Method != http.MethodGet:
		return nil, nil
	case r.URL.Path == "/readyz", r.URL.Path == "/livez":
		return answerBody(r, http.StatusOK, []byte("ok"))
	case r.URL.Path == "/version":
		return answerJSON(r, http.StatusOK, version.Info{GitVersion: m.Version, Platform: "linux/amd64"})
	case r.URL.Path == "/api":
		return answerJSON(r, http.StatusOK, &metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	case r.URL.Path == "/apis":
		return answerJSON(r, http.StatusOK, m.groupList())
	case len(parts) == 2 && parts[0] == "api":
		return m.resourcesOf(r, schema.GroupVersion{Version: parts[1]})
	case len(parts) == 3 && parts[0] == "apis":
		return m.resourcesOf(r, schema.GroupVersion{Group: parts[1], Version: parts[2]})
	}
	return nil, nil
}

func (m *Member) resourcesOf(r *http.Request, gv schema.GroupVersion) (*http.Response, error) {
	if len(builtIn()[gv])+len(m.defined[gv]) == 0 {
		return nil, notServed()
	}
	return answerJSON(r, http.StatusOK, m.resourceList(gv))
}

// mayDo answers a review: everybody may do everything.
func (m *Member) mayDo(r *http.Request, resource string) (*http.Response, error) {
	review := map[string]any{"apiVersion": "authorization.k8s.io/v1", "status": map[string]any{"allowed": true}}
	switch resource {
	case "selfsubjectaccessreviews":
		review["kind"] = "SelfSubjectAccessReview"
	case "subjectaccessreviews":
		review["kind"] = "SubjectAccessReview"
	default:
		return nil, notServed()
	}
	return answerJSON(r, http.StatusCreated, review)
}

func notServed() error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, "", schema.GroupResource{}, "", "", 0, true)
}

// parse takes apart /api/v1/… and /apis/GROUP/VERSION/…, with or without a
// namespace.
func (m *Member) parse(r *http.Request, body []byte) (request, error) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	req := request{Request: r, body: body}
	switch {
	case parts[0] == "api" && len(parts) > 2:
		req.gvr.Version, parts = parts[1], parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		req.gvr.Group, req.gvr.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return req, notServed()
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		req.namespace, parts = parts[1], parts[2:]
	}
	req.gvr.Resource = parts[0]
	kind, ok := m.served(req.gvr)
	if !ok || len(parts) > 2 {
		return req, notServed()
	}
	if len(parts) == 2 {
		req.name, req.single = parts[1], true
	}
	req.kind, req.namespaced = kind.kind, kind.namespaced
	req.partial = strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata")
	return req, req.select_(r)
}

// select_ reads the selectors of a list or watch.
func (v *view) select_(r *http.Request) error {
	q := r.URL.Query()
	selector, err := labels.Parse(q.Get("labelSelector"))
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	v.labels = selector
	for _, term := range strings.FieldsFunc(q.Get("fieldSelector"), func(c rune) bool { return c == ',' }) {
		field, value, _ := strings.Cut(strings.Replace(term, "==", "=", 1), "=")
		switch field {
		case "metadata.name":
			v.name = value
		case "metadata.namespace":
			v.namespace = value
		default:
			return apierrors.NewBadRequest(fmt.Sprintf("field label not supported: %s", field))
		}
	}
	return nil
}

// decode reads the object that a request carries.
func (req *request) decode() (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(req.body, &u.Object); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body is no JSON object: %v", err))
	}
	if u.Object == nil {
		u.Object = map[string]any{}
	}
	if u.GetKind() == "" {
		u.SetGroupVersionKind(req.gvr.GroupVersion().WithKind(req.kind))
	}
	if u.GetKind() != req.kind || u.GroupVersionKind().GroupVersion() != req.gvr.GroupVersion() {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body is a %s, and the address is for %s", u.GroupVersionKind(), req.gvr.GroupVersion().WithKind(req.kind)))
	}
	if req.namespaced {
		u.SetNamespace(req.namespace)
	}
	return u, nil
}

func answerError(r *http.Request, err error) (*http.Response, error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	s := status.Status()
	s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return answerJSON(r, int(s.Code), s)
}

func answerJSON(r *http.Request, code int, v any) (*http.Response, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return answerBody(r, code, body)
}

func answerBody(r *http.Request, code int, body []byte) (*http.Response, error) {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", code, http.StatusText(code)), StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), Request: r,
	}, nil
}
