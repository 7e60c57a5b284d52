package server

import (
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/internal/fleet"
)

// sync has the agents apply everything once more, now. It is safe to ask twice. By
// force what cannot be changed is deleted and made anew, which takes the right to
// delete all of it.
func (s *server) sync(r *http.Request) (any, error) {
	what := "sync"
	if r.URL.Query().Get("force") == "true" {
		// An agent that knows nothing of it must say so, rather than do less.
		what = "force"
		if err := s.mayForce(r); err != nil {
			return nil, err
		}
	}
	answers, silent, err := askAll[fleet.ClusterSync](s, r, what)
	return fleet.ApplicationSync{Clusters: answers, Silent: silent}, err
}

func (s *server) mayForce(r *http.Request) error {
	who, err := caller(r)
	if err != nil {
		return err
	}
	name := types.NamespacedName{Namespace: r.PathValue("project"), Name: r.PathValue("app")}
	allowed, err := mayDo(r.Context(), s.Intent.Client, who, "delete", "applications", name)
	if err != nil || allowed {
		return err
	}
	return apierrors.NewForbidden(resource("applications"), name.Name, errors.New(`to force a sync takes the right to delete the application, the verb "delete" on applications`))
}
