package e2e_test

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// has tells whether text holds every one of the words.
func has(text string, words ...string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

func conditionIs(conditions []metav1.Condition, kind string, want metav1.ConditionStatus) bool {
	c := meta.FindStatusCondition(conditions, kind)
	return c != nil && c.Status == want
}

func mergePatch(patch map[string]any) client.Patch {
	data, err := json.Marshal(patch)
	if err != nil {
		panic(err) // only plain maps come here
	}
	return client.RawPatch(types.MergePatchType, data)
}

// withCodec lets a configuration serve a client of plain paths.
func withCodec(c *rest.Config) *rest.Config {
	c.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	c.GroupVersion = &metav1.Unversioned
	return c
}
