package apiserver

import (
	"encoding/json"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestAGuardComesWithTheWriteThatNeedsIt(t *testing.T) {
	widgets := schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "widgets"}
	guard := &Guard{Resource: widgets, Finalizer: "example.org/guard", Needs: func(u *unstructured.Unstructured) bool {
		guarded, _, _ := unstructured.NestedBool(u.Object, "spec", "guarded")
		return guarded
	}}
	const plain = `{"metadata":{"name":"a"},"spec":{"guarded":false}}`
	for name, tt := range map[string]struct {
		resource string
		old, new string
		patch    string
	}{
		"it is made so": {"widgets", "", `{"metadata":{"name":"a"},"spec":{"guarded":true}}`, `["example.org/guard"]`},
		"it becomes so": {"widgets", plain, `{"metadata":{"name":"a","finalizers":["x/y"]},"spec":{"guarded":true}}`, `["x/y","example.org/guard"]`},
		"it is not so":  {"widgets", "", plain, ""},
		"it has it":     {"widgets", "", `{"metadata":{"name":"a","finalizers":["example.org/guard"]},"spec":{"guarded":true}}`, ""},
		"it is being deleted": {"widgets", plain,
			`{"metadata":{"name":"a","deletionTimestamp":"2026-01-02T03:04:05Z"},"spec":{"guarded":true}}`, ""},
		"somebody clears up": {"widgets", `{"metadata":{"name":"a","finalizers":["example.org/guard"]},"spec":{"guarded":true}}`,
			`{"metadata":{"name":"a"},"spec":{"guarded":true}}`, ""},
		"it is another kind": {"gadgets", "", `{"metadata":{"name":"a"},"spec":{"guarded":true}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			object := func(s string) runtime.RawExtension {
				u := map[string]any{}
				if s == "" {
					return runtime.RawExtension{}
				}
				if err := json.Unmarshal([]byte(s), &u); err != nil {
					t.Fatal(err)
				}
				u["apiVersion"], u["kind"] = "example.org/v1", "Widget"
				raw, err := json.Marshal(u)
				if err != nil {
					t.Fatal(err)
				}
				return runtime.RawExtension{Raw: raw}
			}
			operation := admissionv1.Update
			if tt.old == "" {
				operation = admissionv1.Create
			}
			answer := guard.complete(t.Context(), &admissionv1.AdmissionRequest{
				UID: "1", Operation: operation, Object: object(tt.new), OldObject: object(tt.old),
				Resource: metav1.GroupVersionResource{Group: "example.org", Version: "v1", Resource: tt.resource},
			})
			var patch []struct {
				Op, Path string
				Value    json.RawMessage
			}
			if answer.Patch != nil {
				if err := json.Unmarshal(answer.Patch, &patch); err != nil {
					t.Fatal(err)
				}
			}
			switch {
			case !answer.Allowed || answer.UID != "1":
				t.Errorf("the answer is %+v", answer)
			case tt.patch == "" && len(patch) > 0:
				t.Errorf("the patch is %s", answer.Patch)
			case tt.patch != "" && (len(patch) != 1 || patch[0].Op != "add" || patch[0].Path != "/metadata/finalizers" || string(patch[0].Value) != tt.patch):
				t.Errorf("the patch is %s", answer.Patch)
			}
		})
	}
}
