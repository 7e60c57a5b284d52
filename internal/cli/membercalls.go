package cli

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/report"
)

// memberCalls reach one cluster's own API.
type memberCalls struct {
	name    string
	objects dynamic.Interface
	kinds   discovery.DiscoveryInterface
	mapper  meta.RESTMapper
}

// member reaches a cluster through the hub and its agent, as the caller: the
// cluster's own RBAC says what they may do there.
func (c *console) member(ctx context.Context, cluster string) (*memberCalls, error) {
	if err := c.reachable(ctx, cluster); err != nil {
		return nil, err
	}
	data, err := c.memberKubeconfig(ctx, cluster)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %s: %w", cluster, err)
	}
	return memberOf(cluster, config)
}

func memberOf(name string, config *rest.Config) (*memberCalls, error) {
	config.QPS = -1
	m := &memberCalls{name: name}
	var err error
	if m.objects, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connect to cluster %s: %w", name, err)
	}
	if m.kinds, err = discovery.NewDiscoveryClientForConfig(config); err != nil {
		return nil, fmt.Errorf("connect to cluster %s: %w", name, err)
	}
	groups, err := restmapper.GetAPIGroupResources(m.kinds)
	if err != nil {
		return nil, fmt.Errorf("ask cluster %s which kinds it serves: %w", name, err)
	}
	m.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	return m, nil
}

// of is where an object is found.
func (m *memberCalls) of(ref report.ObjectRef) (dynamic.ResourceInterface, error) {
	mapping, err := m.mapper.RESTMapping(schema.GroupKind{Group: ref.Group, Kind: ref.Kind})
	if err != nil {
		return nil, fmt.Errorf("find %s on cluster %s: %w", ref, m.name, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return m.objects.Resource(mapping.Resource).Namespace(ref.Namespace), nil
	}
	return m.objects.Resource(mapping.Resource), nil
}
