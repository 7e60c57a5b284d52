package apiserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/kubernetes/pkg/controller"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/resourcequota"
	"k8s.io/kubernetes/pkg/quota/v1/evaluator/core"
	quotainstall "k8s.io/kubernetes/pkg/quota/v1/install"
)

const (
	// workers of each controller. A hub's own API is small, so few will do.
	workers = 4
	// rediscovery is how soon garbage collection and quotas notice a new kind.
	rediscovery = 30 * time.Second
	// resync bounds how long a missed event can matter.
	resync          = 12 * time.Hour
	namespaceResync = 5 * time.Minute
	quotaResync     = 5 * time.Minute
)

// builtinControllers are Kubernetes' own controllers that make the generic
// control plane keep its word.
type builtinControllers struct {
	client    *kubernetes.Clientset
	metadata  metadata.Interface
	discovery discovery.DiscoveryInterface
	mapper    *restmapper.DeferredDiscoveryRESTMapper
	informers *informerSource
	resources *serverstorage.ResourceConfig
	started   chan struct{}
}

func newBuiltinControllers(config *rest.Config, typed informers.SharedInformerFactory, resources *serverstorage.ResourceConfig) (*builtinControllers, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the controllers' client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the controllers' metadata client: %w", err)
	}
	return &builtinControllers{
		client:    client,
		metadata:  meta,
		discovery: client.Discovery(),
		mapper:    restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery())),
		informers: &informerSource{typed: typed, metadata: metadatainformer.NewSharedInformerFactory(meta, resync)},
		resources: resources,
		started:   make(chan struct{}),
	}, nil
}

// run runs the controllers until ctx ends and all of them have stopped.
func (b *builtinControllers) run(ctx context.Context) error {
	namespaces := namespace.NewNamespaceController(ctx, b.client, b.metadata, b.discovery.ServerPreferredNamespacedResources,
		b.informers.typed.Core().V1().Namespaces(), namespaceResync, corev1.FinalizerKubernetes)
	roles := clusterroleaggregation.NewClusterRoleAggregation(b.informers.typed.Rbac().V1().ClusterRoles(), b.client.RbacV1())
	collector, err := b.garbageCollector(ctx)
	if err != nil {
		return err
	}
	quotas, err := b.quotaController(ctx)
	if err != nil {
		return err
	}
	b.informers.Start(ctx.Done())
	close(b.started)

	var running sync.WaitGroup
	for _, loop := range []func(){
		func() { namespaces.Run(ctx, workers) },
		func() { roles.Run(ctx, workers) },
		func() { collector.Run(ctx, workers, rediscovery) },
		func() { collector.Sync(ctx, b.discovery, rediscovery) },
		func() { quotas.Run(ctx, workers) },
		func() { quotas.Sync(ctx, b.discovery.ServerPreferredNamespacedResources, rediscovery) },
		func() { wait.UntilWithContext(ctx, func(context.Context) { b.mapper.Reset() }, rediscovery) },
	} {
		running.Go(loop)
	}
	running.Wait()
	return nil
}

func (b *builtinControllers) garbageCollector(ctx context.Context) (*garbagecollector.GarbageCollector, error) {
	graph := garbagecollector.NewDependencyGraphBuilder(ctx, b.metadata, b.mapper,
		garbagecollector.DefaultIgnoredResources(), b.informers, b.started)
	collector, err := garbagecollector.NewComposedGarbageCollector(ctx, b.client, b.metadata, b.mapper, graph)
	if err != nil {
		return nil, fmt.Errorf("make the garbage collector: %w", err)
	}
	return collector, nil
}

func (b *builtinControllers) quotaController(ctx context.Context) (*resourcequota.Controller, error) {
	// Evaluators only for what is served: those of pods and claims would watch
	// resources that this server does not have.
	evaluators, err := core.NewEvaluators(generic.ListerFuncForResourceFunc(b.informers.ForResource), b.informers.typed, b.resources.ResourceEnabled)
	if err != nil {
		return nil, fmt.Errorf("make the quota evaluators: %w", err)
	}
	configuration := generic.NewConfiguration(evaluators, quotainstall.DefaultIgnoredResources())
	quotas, err := resourcequota.NewController(ctx, &resourcequota.ControllerOptions{
		QuotaClient:               b.client.CoreV1(),
		ResourceQuotaInformer:     b.informers.typed.Core().V1().ResourceQuotas(),
		ResyncPeriod:              controller.StaticResyncPeriodFunc(quotaResync),
		Registry:                  generic.NewRegistry(configuration.Evaluators()),
		DiscoveryFunc:             b.discovery.ServerPreferredNamespacedResources,
		IgnoredResourcesFunc:      configuration.IgnoredResources,
		InformersStarted:          b.started,
		InformerFactory:           b.informers,
		ReplenishmentResyncPeriod: controller.StaticResyncPeriodFunc(resync),
		UpdateFilter:              quotainstall.DefaultUpdateFilter(),
	})
	if err != nil {
		return nil, fmt.Errorf("make the quota controller: %w", err)
	}
	return quotas, nil
}

// informerSource gives the controllers the API server's own informers where it
// has one anyway, and else one of metadata only, so that no object is held
// twice in this process and no Secret's data once.
type informerSource struct {
	typed    informers.SharedInformerFactory
	metadata metadatainformer.SharedInformerFactory
}

// serverOwned are the resources whose objects the API server holds for RBAC and
// admission.
var serverOwned = map[schema.GroupVersionResource]bool{
	{Version: "v1", Resource: "namespaces"}:                                                         true,
	{Version: "v1", Resource: "resourcequotas"}:                                                     true,
	{Version: "v1", Resource: "serviceaccounts"}:                                                    true,
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}:                          true,
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}:                   true,
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}:                   true,
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}:            true,
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Resource: "flowschemas"}:                 true,
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Resource: "prioritylevelconfigurations"}: true,
}

func (s *informerSource) ForResource(resource schema.GroupVersionResource) (informers.GenericInformer, error) {
	if serverOwned[resource] {
		return s.typed.ForResource(resource)
	}
	return s.metadata.ForResource(resource), nil
}

func (s *informerSource) Start(stop <-chan struct{}) {
	s.typed.Start(stop)
	s.metadata.Start(stop)
}
