package application

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/validate"
)

// cycleWake is when an application in a cycle is looked at again: another one may
// have been mended.
func cycleWake(cycle []string) time.Duration {
	if len(cycle) == 0 {
		return 0
	}
	return 30 * time.Second
}

// cycle is the way by which an application waits for itself; nil when it does
// not. Admission refuses it, unless two were written at the same moment.
func (r *Intent) cycle(ctx context.Context, app *v1alpha1.Application) ([]string, error) {
	if len(app.Spec.DependsOn) == 0 {
		return nil, nil
	}
	return validate.Cycle(app.Name, func(name string) ([]string, error) {
		if name == app.Name {
			return validate.DependsOn(app), nil
		}
		other := &v1alpha1.Application{}
		err := r.Client.Get(ctx, types.NamespacedName{Namespace: app.Namespace, Name: name}, other)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read application %s, which is depended on: %w", name, err)
		}
		return validate.DependsOn(other), nil
	})
}
