package hub

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

func TestApplicationsThatWouldWaitForEachOtherAreRefused(t *testing.T) {
	b := hubOf(t)
	b.project("waits")
	m := b.joined("waits-1", map[string]string{"test": "waits"})
	for _, name := range []string{"cache", "db"} {
		b.deploy("waits", name, "nowhere=true", v1alpha1.Orphan)
	}
	b.deploy("waits", "shop", "test=waits", v1alpha1.Orphan)
	depend := func(name, on string) error {
		app := b.app("waits", name)
		patch := client.MergeFrom(app.DeepCopy())
		app.Spec.DependsOn = []v1alpha1.Dependency{{Application: on}}
		return b.client.Patch(t.Context(), app, patch)
	}
	b.must(depend("shop", "db"))
	b.must(depend("db", "cache"))
	m.until("what it is to wait for", func(r desired.Root) bool {
		e, _ := r.Get(desired.Key{Project: "waits", Application: "shop"})
		return slices.Equal(e.After, []string{"db"})
	})
	if err := depend("cache", "shop"); err == nil || !strings.Contains(err.Error(), "cache waits for shop waits for db waits for cache") {
		t.Errorf("a circle was answered with %v", err)
	}
	if err := depend("cache", "cache"); err == nil || !strings.Contains(err.Error(), "cannot wait for itself") {
		t.Errorf("an application that waits for itself was answered with %v", err)
	}
	b.must(depend("cache", "later"))
}
