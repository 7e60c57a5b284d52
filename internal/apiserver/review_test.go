package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// verdict judges writes to things.example.com.
type verdict struct {
	err  error
	seen *Write
}

func (v *verdict) Judges(r schema.GroupVersionResource) bool { return r.Resource == "things" }
func (v *verdict) Validate(_ context.Context, w Write) error { v.seen = &w; return v.err }

const reviewOf = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1",
"kind":{"group":"example.com","version":"v1","kind":"Thing"},"resource":{"group":"example.com","version":"v1","resource":"RESOURCE"},
"name":"x","namespace":"n","operation":"UPDATE","dryRun":true,
"userInfo":{"username":"dana","groups":["team"],"extra":{"k":["v"]}},
"object":{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"x"},"spec":{"a":2}},
"oldObject":{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"x"},"spec":{"a":1}}}}`

func post(t *testing.T, v *verdict, body string) (int, *admissionv1.AdmissionResponse) {
	t.Helper()
	w := httptest.NewRecorder()
	reviews(reviewer{validators: []Validator{v}}.judge).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/admission/x", strings.NewReader(body)))
	answer := &admissionv1.AdmissionReview{}
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), answer); err != nil || answer.Kind != "AdmissionReview" {
			t.Fatalf("the answer is %s: %v", w.Body, err)
		}
	}
	return w.Code, answer.Response
}

func TestAReviewIsAnsweredByTheValidators(t *testing.T) {
	things := strings.Replace(reviewOf, "RESOURCE", "things", 1)
	group := schema.GroupResource{Group: "example.com", Resource: "things"}
	for name, c := range map[string]struct {
		err  error
		code int32
		says string
	}{
		"nothing is wrong":      {nil, 0, ""},
		"a field is wrong":      {field.Invalid(field.NewPath("spec", "a"), 2, "is too much"), 422, `Thing.example.com "x" is invalid: spec.a`},
		"a right is missing":    {apierrors.NewForbidden(group, "x", errors.New("not yours")), 403, "not yours"},
		"something else is":     {errors.New("it is Sunday"), 403, "it is Sunday"},
		"the judge cannot tell": {apierrors.NewInternalError(errors.New("out of order")), 500, "out of order"},
	} {
		v := &verdict{err: c.err}
		status, answer := post(t, v, things)
		if status != http.StatusOK || answer.UID != "u1" || answer.Allowed != (c.err == nil) {
			t.Fatalf("%s: %d, %+v", name, status, answer)
		}
		if c.err != nil && (answer.Result.Code != c.code || !strings.Contains(answer.Result.Message, c.says)) {
			t.Errorf("%s: %d %q; wanted %d %q", name, answer.Result.Code, answer.Result.Message, c.code, c.says)
		}
		w := v.seen
		if w.User.GetName() != "dana" || w.User.GetGroups()[0] != "team" || w.User.GetExtra()["k"][0] != "v" || !w.DryRun || w.Namespace != "n" {
			t.Errorf("%s: the write is %+v by %+v", name, w, w.User)
		}
		if a, b := w.New.Object["spec"].(map[string]any)["a"], w.Old.Object["spec"].(map[string]any)["a"]; a != int64(2) || b != int64(1) {
			t.Errorf("%s: it goes from %v to %v", name, b, a)
		}
	}
	other := &verdict{err: errors.New("never")}
	if _, answer := post(t, other, strings.Replace(reviewOf, "RESOURCE", "others", 1)); !answer.Allowed || other.seen != nil {
		t.Errorf("a resource that nobody judges: %+v", answer)
	}
}

func FuzzReview(f *testing.F) {
	f.Add(strings.Replace(reviewOf, "RESOURCE", "things", 1))
	f.Add(`{}`)
	f.Add(`{"request":{"operation":"UPDATE","resource":{"resource":"things"},"object":{}}}`)
	f.Fuzz(func(t *testing.T, body string) {
		v := &verdict{}
		code, answer := post(t, v, body)
		if code != http.StatusOK && code != http.StatusBadRequest {
			t.Errorf("it answers %d", code)
		}
		if code == http.StatusOK && answer.Allowed && v.seen != nil && v.seen.New == nil && v.seen.Operation != "DELETE" {
			t.Error("a write without its object was judged")
		}
	})
}
