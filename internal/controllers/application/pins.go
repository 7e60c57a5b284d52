package application

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/assign"
	"atoll.dev/atoll/internal/depot"
	"atoll.dev/atoll/internal/rollout"
)

// pin puts what people pinned in the place of what the source says, and returns
// the content that is then delivered. What the source says is recorded all the
// same, for the day on which the pin is taken out. A pin to what is not there
// lets nothing new through: what it was to keep away may be just that.
func (r *Intent) pin(ctx context.Context, app *v1alpha1.Application, s *assign.State, admitted depot.Content) (depot.Content, error) {
	pins, refused := rollout.PinsOf(app, r.Now()), s.ContentErr
	for cluster, pin := range pins.Cluster {
		revision, err := r.pinned(ctx, app, s, pin)
		if err != nil {
			return admitted, err
		}
		if s.Pinned == nil {
			s.Pinned = map[string]assign.Delivery{}
		}
		s.Pinned[cluster] = assign.Delivery{}
		if revision == nil {
			continue
		}
		if s.Pinned[cluster], err = r.deliverTo(ctx, app, s, depot.Recorded(revision), cluster); err != nil {
			if !asRefused(err, s) {
				return admitted, err
			}
			s.Pinned[cluster] = assign.Delivery{}
		}
	}
	var to *v1alpha1.Revision
	if pins.All != nil {
		var err error
		if to, err = r.pinned(ctx, app, s, pins.All); err != nil {
			return admitted, err
		}
	}
	if s.ContentErr != refused {
		return depot.Content{}, r.last(ctx, app, s)
	}
	if to == nil {
		return admitted, nil
	}
	if admitted.Digest != "" {
		if err := r.recordRevision(ctx, app, admitted); err != nil {
			return admitted, err
		}
	}
	s.ContentErr = nil // it is not what is delivered
	recorded := depot.Recorded(to)
	if err := r.deliver(ctx, app, s, recorded); err != nil {
		if !asRefused(err, s) {
			return admitted, err
		}
		return depot.Content{}, r.last(ctx, app, s)
	}
	s.PinnedTo = describePin(pins.All)
	return recorded, nil
}

// asRefused puts an error into the state that is its author's to mend.
func asRefused(err error, s *assign.State) bool {
	var refused *depot.Refused
	if errors.As(err, &refused) {
		s.ContentErr = refused
		return true
	}
	return false
}

// pinned is the Revision that a pin names; nil, with the reason in the state,
// when there is none.
func (r *Intent) pinned(ctx context.Context, app *v1alpha1.Application, s *assign.State, pin *v1alpha1.Pin) (*v1alpha1.Revision, error) {
	revision := &v1alpha1.Revision{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: app.Namespace, Name: pin.Revision}, revision)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read pinned revision %s: %w", pin.Revision, err)
	}
	if err != nil || revision.Spec.Application != app.Name {
		s.ContentErr = fmt.Errorf("revision %s, to which it is pinned, is none of this application: `atoll history app/%s` lists them, `atoll unpin app/%s` takes the pin out", pin.Revision, app.Name, app.Name)
		return nil, nil
	}
	return revision, nil
}

func describePin(pin *v1alpha1.Pin) string {
	text := "pinned to " + pin.Revision
	if pin.By != "" {
		text += " by " + pin.By
	}
	text += ": " + pin.Reason
	if pin.Expires != nil {
		text += ", until " + pin.Expires.UTC().Format("2006-01-02 15:04 MST")
	}
	return text
}
