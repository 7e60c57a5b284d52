package apiserver

import (
	"context"
	"fmt"
	"net/http"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsapiserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/runtime"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericapiserver "k8s.io/apiserver/pkg/server"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/util/notfoundhandler"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	controlplane "k8s.io/kubernetes/pkg/controlplane/apiserver"
	"k8s.io/kubernetes/pkg/controlplane/apiserver/options"
	generatedopenapi "k8s.io/kubernetes/pkg/generated/openapi"

	// The kinds that the groups below serve.
	_ "k8s.io/kubernetes/pkg/apis/admission/install"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	_ "k8s.io/kubernetes/pkg/apis/apiserverinternal/install"
	_ "k8s.io/kubernetes/pkg/apis/authentication/install"
	_ "k8s.io/kubernetes/pkg/apis/authorization/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/certificates/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/events/install"
	_ "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/storagemigration/install"
)

// chain is the API server: front serves the built-in kinds and passes the rest
// to custom, which serves custom resources.
type chain struct {
	front     *controlplane.Server
	custom    *apiextensionsapiserver.CustomResourceDefinitions
	informers informers.SharedInformerFactory
	resources *serverstorage.ResourceConfig
	described *description
}

// servedResources are the built-in groups: what a control plane without pods,
// nodes and volumes has a use for.
func servedResources() *serverstorage.ResourceConfig {
	config := serverstorage.NewResourceConfig()
	config.EnableVersions(
		admissionregistrationv1.SchemeGroupVersion,
		authenticationv1.SchemeGroupVersion,
		authorizationv1.SchemeGroupVersion,
		certificatesv1.SchemeGroupVersion,
		coordinationv1.SchemeGroupVersion,
		corev1.SchemeGroupVersion,
		eventsv1.SchemeGroupVersion,
		flowcontrolv1.SchemeGroupVersion,
		rbacv1.SchemeGroupVersion,
	)
	return config
}

func newChain(completed options.CompletedOptions, o *Options) (*chain, error) {
	c := &chain{resources: servedResources()}
	generic, shared, storage, err := controlplane.BuildGenericConfig(completed,
		[]*runtime.Scheme{legacyscheme.Scheme, apiextensionsapiserver.Scheme},
		c.resources, generatedopenapi.GetOpenAPIDefinitions)
	if err != nil {
		return nil, fmt.Errorf("configure the API server: %w", err)
	}
	c.informers, c.described = shared, &description{v2: generic.OpenAPIConfig, v3: generic.OpenAPIV3Config}
	generic.OpenAPIConfig.Info.Title, generic.OpenAPIV3Config.Info.Title = "Atoll", "Atoll"
	generic.SkipOpenAPIInstallation = true // for description makes it
	discovery := generic.AggregatedDiscoveryGroupManager
	generic.BuildHandlerChainFunc = func(api http.Handler, config *genericapiserver.Config) http.Handler {
		return beforeAuthentication(o.Public, genericapiserver.DefaultBuildHandlerChain(groupList(api, discovery), config))
	}
	generic.BuildHandlerChainFunc = witnessing(o.Witness, generic.BuildHandlerChainFunc)
	resolver := webhook.NewDefaultServiceResolver()
	config, initializers, err := controlplane.CreateConfig(completed, generic, shared, storage, resolver, nil)
	if err != nil {
		return nil, fmt.Errorf("configure the built-in kinds: %w", err)
	}
	authInfo := webhook.NewDefaultAuthenticationInfoResolverWrapper(
		config.ProxyTransport, generic.EgressSelector, generic.LoopbackClientConfig, generic.TracerProvider)
	customConfig, err := controlplane.CreateAPIExtensionsConfig(
		*generic, shared, initializers, completed, serversSharingStore(o), resolver, authInfo)
	if err != nil {
		return nil, fmt.Errorf("configure custom resources: %w", err)
	}
	return c, c.build(config, customConfig, o)
}

// serversSharingStore is 1 when the store is our own: then a new custom
// resource need not wait until other servers have seen it.
func serversSharingStore(o *Options) int {
	if o.external() {
		return 3
	}
	return 1
}

func (c *chain) build(config *controlplane.Config, customConfig *apiextensionsapiserver.Config, o *Options) (err error) {
	notFound := notfoundhandler.New(config.Generic.Serializer, genericapifilters.NoMuxAndDiscoveryIncompleteKey)
	c.custom, err = customConfig.Complete().New(genericapiserver.NewEmptyDelegateWithCustomHandler(notFound))
	if err != nil {
		return fmt.Errorf("make the server of custom resources: %w", err)
	}
	completed := config.Complete()
	if c.front, err = completed.New("atoll-hub", c.custom.GenericAPIServer); err != nil {
		return fmt.Errorf("make the server of built-in kinds: %w", err)
	}
	client, err := kubernetes.NewForConfig(completed.Generic.LoopbackClientConfig)
	if err != nil {
		return fmt.Errorf("make the server's own client: %w", err)
	}
	providers, err := completed.GenericStorageProviders(client.Discovery())
	if err != nil {
		return fmt.Errorf("make the storage of built-in kinds: %w", err)
	}
	if err := c.front.InstallAPIs(withQuickRoles(providers)...); err != nil {
		return fmt.Errorf("install the built-in kinds: %w", err)
	}
	server := c.front.GenericAPIServer
	server.ShutdownTimeout = stopGrace
	setPriorities(server)
	for i := range o.APIs {
		if err := o.APIs[i].mount(server); err != nil {
			return err
		}
	}
	mountPaths(server, o.Handlers)
	return nil
}

// runnable is a server that serves until its context ends.
type runnable interface {
	RunWithContext(ctx context.Context) error
}

func (c *chain) prepare() (runnable, error) {
	prepared := c.front.GenericAPIServer.PrepareRun()
	return prepared, c.described.share(c.front.GenericAPIServer, c.custom.GenericAPIServer)
}
