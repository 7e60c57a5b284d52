package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// kind is what the member's discovery says of one kind.
type kind struct {
	gvk        schema.GroupVersionKind
	gvr        schema.GroupVersionResource
	namespaced bool
}

// errNoKind tells that the member does not serve a kind, now.
var errNoKind = errors.New("the member does not serve this kind")

// refetch is how long an answer "no such kind" is believed.
const refetch = time.Second

// kinds asks discovery for just the group versions that are used, which costs
// a few KiB each where a full mapper costs megabytes.
type kinds struct {
	discover discovery.ServerResourcesInterface
	clock    func() time.Time

	mu       sync.Mutex
	versions map[schema.GroupVersion]*version
}

type version struct {
	mu      sync.Mutex // held while fetching
	fetched time.Time
	kinds   map[string]kind
}

func newKinds(d discovery.ServerResourcesInterface, clock func() time.Time) *kinds {
	return &kinds{discover: d, clock: clock, versions: map[schema.GroupVersion]*version{}}
}

// Find maps a kind to its resource; errNoKind when it is not served.
func (k *kinds) Find(_ context.Context, gvk schema.GroupVersionKind) (kind, error) {
	k.mu.Lock()
	v, ok := k.versions[gvk.GroupVersion()]
	if !ok {
		v = &version{}
		k.versions[gvk.GroupVersion()] = v
	}
	k.mu.Unlock()

	v.mu.Lock()
	defer v.mu.Unlock()
	if found, ok := v.kinds[gvk.Kind]; ok {
		return found, nil
	}
	if k.clock().Sub(v.fetched) < refetch {
		return kind{}, fmt.Errorf("%s: %w", gvk, errNoKind)
	}
	if err := k.fetch(gvk.GroupVersion(), v); err != nil {
		return kind{}, err
	}
	if found, ok := v.kinds[gvk.Kind]; ok {
		return found, nil
	}
	return kind{}, fmt.Errorf("%s: %w", gvk, errNoKind)
}

func (k *kinds) fetch(gv schema.GroupVersion, v *version) error {
	list, err := k.discover.ServerResourcesForGroupVersion(gv.String())
	switch {
	case apierrors.IsNotFound(err):
		v.kinds, v.fetched = nil, k.clock()
		return nil
	case err != nil:
		return fmt.Errorf("discover %s: %w", gv, err)
	}
	v.kinds, v.fetched = map[string]kind{}, k.clock()
	for _, r := range list.APIResources {
		if strings.Contains(r.Name, "/") {
			continue
		}
		v.kinds[r.Kind] = kind{gvk: gv.WithKind(r.Kind), gvr: gv.WithResource(r.Name), namespaced: r.Namespaced}
	}
	return nil
}

// Forget drops what is known of a group: a definition came, changed or went.
func (k *kinds) Forget(group string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for gv := range k.versions {
		if gv.Group == group {
			delete(k.versions, gv)
		}
	}
}
