package apiserver

import (
	"fmt"
	"net/http"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

// API is a group version that a handler answers instead of the store. Its
// requests are authenticated, authorized by RBAC under its own group and
// resource names, and listed in discovery, like any other's.
type API struct {
	GroupVersion schema.GroupVersion
	// Resources are what discovery says. A resource with both list and watch, or
	// with deletecollection, must also behave like a stored one: garbage
	// collection, quotas and namespace deletion would come for it.
	Resources []metav1.APIResource
	// Handler gets everything below /apis/GROUP/VERSION/ with its whole path.
	Handler http.Handler
}

// mountedPriority puts mounted groups behind Kubernetes' own and before others
// where kubectl must choose between two resources of one name.
const mountedPriority = 1100

func (a *API) validate() error {
	switch {
	case a.GroupVersion.Group == "" || a.GroupVersion.Version == "":
		return fmt.Errorf("mounted API %q needs a group and a version", a.GroupVersion)
	case a.Handler == nil:
		return fmt.Errorf("mounted API %s has no handler", a.GroupVersion)
	}
	return nil
}

// mount serves the API beneath server and lists it in discovery.
func (a *API) mount(server *genericapiserver.GenericAPIServer) error {
	described, err := endpoints.ConvertGroupVersionIntoToDiscovery(a.Resources)
	if err != nil {
		return fmt.Errorf("describe the mounted API %s: %w", a.GroupVersion, err)
	}
	version := metav1.GroupVersionForDiscovery{GroupVersion: a.GroupVersion.String(), Version: a.GroupVersion.Version}
	group := metav1.APIGroup{Name: a.GroupVersion.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version}
	list := discovery.APIResourceListerFunc(func() []metav1.APIResource { return a.Resources })

	mux, root := server.Handler.NonGoRestfulMux, "/apis/"+a.GroupVersion.Group
	mux.Handle(root, discovery.NewAPIGroupHandler(legacyscheme.Codecs, group))
	mux.Handle(root+"/"+a.GroupVersion.Version, discovery.NewAPIVersionHandler(legacyscheme.Codecs, a.GroupVersion, list))
	mux.HandlePrefix(root+"/"+a.GroupVersion.Version+"/", a.Handler)

	manager := server.AggregatedDiscoveryGroupManager.WithSource(aggregated.BuiltinSource)
	manager.AddGroupVersion(a.GroupVersion.Group, apidiscoveryv2.APIVersionDiscovery{
		Version:   a.GroupVersion.Version,
		Resources: described,
		Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
	})
	manager.SetGroupVersionPriority(metav1.GroupVersion(a.GroupVersion), mountedPriority, 15)
	return nil
}

// mountPaths serves handlers at plain paths; those ending in a slash take
// everything below.
func mountPaths(server *genericapiserver.GenericAPIServer, handlers map[string]http.Handler) {
	for path, handler := range handlers {
		if path[len(path)-1] == '/' {
			server.Handler.NonGoRestfulMux.HandlePrefix(path, handler)
		} else {
			server.Handler.NonGoRestfulMux.Handle(path, handler)
		}
	}
}
