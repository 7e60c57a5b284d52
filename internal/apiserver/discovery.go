package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	controlplane "k8s.io/kubernetes/pkg/controlplane/apiserver"
)

// The API is a chain of two servers, built-in kinds and custom ones. In a
// kube-apiserver a third, the aggregator, adds up what they say of themselves.
// The hub has no foreign API servers to add, so it does without: each group's
// aggregated discovery is already in one manager that both servers share, and
// groupList derives the older list of groups from it.

// groupList answers GET /apis for clients that ask for the plain list of
// groups, which the server of built-in kinds alone would give without custom
// resources. Everything else goes to next.
func groupList(next http.Handler, manager aggregated.ResourceManager) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain := (r.URL.Path == "/apis" || r.URL.Path == "/apis/") && r.Method == http.MethodGet &&
			!strings.Contains(r.Header.Get("Accept"), "as=APIGroupDiscoveryList")
		if !plain {
			next.ServeHTTP(w, r)
			return
		}
		groups, err := aggregatedGroups(r, manager)
		if err != nil {
			responsewriters.InternalError(w, r, err)
			return
		}
		responsewriters.WriteObjectNegotiated(legacyscheme.Codecs, negotiation.DefaultEndpointRestrictions,
			schema.GroupVersion{}, w, r, http.StatusOK, plainGroups(groups), false)
	})
}

const aggregatedJSON = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// aggregatedGroups asks manager, which only speaks HTTP, for all it knows.
func aggregatedGroups(r *http.Request, manager aggregated.ResourceManager) (*apidiscoveryv2.APIGroupDiscoveryList, error) {
	inner := r.Clone(r.Context())
	inner.Header = http.Header{"Accept": []string{aggregatedJSON}}
	answer := &bufferedAnswer{header: http.Header{}, status: http.StatusOK}
	manager.ServeHTTP(answer, inner)
	if answer.status != http.StatusOK {
		return nil, fmt.Errorf("list API groups: status %d", answer.status)
	}
	list := &apidiscoveryv2.APIGroupDiscoveryList{}
	if err := json.Unmarshal(answer.body.Bytes(), list); err != nil {
		return nil, fmt.Errorf("list API groups: %w", err)
	}
	return list, nil
}

func plainGroups(list *apidiscoveryv2.APIGroupDiscoveryList) *metav1.APIGroupList {
	groups := &metav1.APIGroupList{}
	for _, described := range list.Items {
		group := metav1.APIGroup{Name: described.Name}
		for _, version := range described.Versions {
			gv := schema.GroupVersion{Group: described.Name, Version: version.Version}
			group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version})
		}
		if len(group.Versions) > 0 {
			group.PreferredVersion = group.Versions[0]
			groups.Groups = append(groups.Groups, group)
		}
	}
	return groups
}

// setPriorities gives the built-in groups the order in which Kubernetes' own
// aggregator would list them: it decides what a short name in kubectl means.
func setPriorities(server *genericapiserver.GenericAPIServer) {
	manager := server.AggregatedDiscoveryGroupManager.WithSource(aggregated.BuiltinSource)
	for gv, priority := range controlplane.DefaultGenericAPIServicePriorities() {
		manager.SetGroupVersionPriority(metav1.GroupVersion(gv), int(priority.Group), int(priority.Version))
	}
}

type bufferedAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *bufferedAnswer) Header() http.Header            { return b.header }
func (b *bufferedAnswer) WriteHeader(status int)         { b.status = status }
func (b *bufferedAnswer) Write(data []byte) (int, error) { return b.body.Write(data) }
