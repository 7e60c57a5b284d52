package application

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/internal/desired"
)

// nothing has no object.
type nothing struct{ client.Client }

func (nothing) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// forgetting is a depot that is asked for nothing else.
type forgetting struct {
	Depot
	forgot []desired.Key
}

func (f *forgetting) Forget(key desired.Key) { f.forgot = append(f.forgot, key) }

// Environments that come and go by the hundred a day would fill a hub's memory.
func TestOfAnApplicationThatIsGoneNothingIsRemembered(t *testing.T) {
	f := &forgetting{}
	r := &Intent{Client: nothing{}, Depot: f, Book: desired.NewBook(func(string) {}), Runs: &Runs{}}
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}}); err != nil {
		t.Fatal(err)
	}
	if len(f.forgot) != 1 || f.forgot[0] != (desired.Key{Project: "shop", Application: "web"}) {
		t.Errorf("the depot is told to forget %v", f.forgot)
	}
}
