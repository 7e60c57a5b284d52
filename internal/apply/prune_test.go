package apply

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox/standin"
)

// TestADeletionThatMeetsAConflictIsTriedAgain: an API server answers so not only
// where another object stands at the name.
func TestADeletionThatMeetsAConflictIsTriedAgain(t *testing.T) {
	m := standin.New(standin.Options{Name: "busy", UID: "uid-of-busy", Version: "v1.36.3", Nodes: 1})
	t.Cleanup(m.Close)
	w := newWorldOn(t, m.Config())
	w.deploy("shop", configMap("a", "k", "1"), deleting)
	w.synced("shop")
	var refused atomic.Bool
	m.Interfere(func(r *http.Request) standin.Fault {
		if r.Method == http.MethodDelete && refused.CompareAndSwap(false, true) {
			return standin.Fault{Refuse: apierrors.NewConflict(configs.GroupResource(), "a", errors.New("the object has been modified"))}
		}
		return standin.Fault{}
	})
	w.change("shop", withdrawing)
	w.state("shop", "Withdrawn", func(s report.State) bool { return s.Sync == report.Withdrawn })
	if left := m.Objects(configs); !refused.Load() || len(left) > 0 {
		t.Errorf("refused once: %v; left are %d objects", refused.Load(), len(left))
	}
}
