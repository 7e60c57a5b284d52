package drift

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// applied is an object on which our manager holds fields.
func applied(fields string, data map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "x"}, "data": data}}
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: "ours", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}})
	return u
}

func TestOnlyOurOwnHandIsLater(t *testing.T) {
	const a, ab = `{"f:data":{"f:a":{}}}`, `{"f:data":{"f:a":{},"f:b":{}}}`
	b, err := Take(applied(ab, map[string]any{"a": "1", "b": "1"}), "ours", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		live   *unstructured.Unstructured
		giveUp []string
		want   bool
	}{
		{"nothing happened", applied(ab, map[string]any{"a": "1", "b": "1"}), nil, false},
		{"others took a field", applied(a, map[string]any{"a": "1", "b": "theirs"}), nil, false},
		{"others removed a field", applied(a, map[string]any{"a": "1"}), nil, false},
		{"others added a field", applied(ab, map[string]any{"a": "1", "b": "1", "c": "theirs"}), nil, false},
		{"we applied another value", applied(ab, map[string]any{"a": "1", "b": "2"}), nil, true},
		{"we applied another field", applied(`{"f:data":{"f:a":{},"f:b":{},"f:c":{}}}`, map[string]any{"a": "1", "b": "1", "c": "1"}), nil, true},
		{"we applied another value of what is given up", applied(ab, map[string]any{"a": "1", "b": "2"}), []string{"data.b"}, false},
	} {
		var giveUp Paths
		for _, text := range c.giveUp {
			p, err := ParsePath(text)
			if err != nil {
				t.Fatal(err)
			}
			giveUp = append(giveUp, p)
		}
		if got, err := Later(b, c.live, "ours", giveUp); err != nil || got != c.want {
			t.Errorf("%s: later %v, %v", c.name, got, err)
		}
	}
}

func TestWhatAnApplyWouldRewrite(t *testing.T) {
	live := applied(`{"f:data":{"f:a":{}}}`, map[string]any{"a": "1", "b": "theirs"})
	for _, c := range []struct {
		name string
		next map[string]any
		want bool
	}{
		{"nothing", map[string]any{"a": "1", "b": "theirs"}, false},
		{"a field of others", map[string]any{"a": "1", "b": "ours"}, false},
		{"our own", map[string]any{"a": "2", "b": "theirs"}, true},
		{"our own, which goes", map[string]any{"b": "theirs"}, true},
	} {
		if got, err := Rewrites(live, applied(`{"f:data":{}}`, c.next), "ours"); err != nil || got != c.want {
			t.Errorf("%s: rewrites %v, %v", c.name, got, err)
		}
	}
}
