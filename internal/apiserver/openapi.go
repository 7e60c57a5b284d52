package apiserver

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/emicklei/go-restful/v3"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/klog/v2"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/cached"
	openapicommon "k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// description is what the two servers say of themselves in OpenAPI, which
// kubectl explain and validation read. It is one: the server of custom resources
// publishes in the documents of the one in front. And it is made when somebody
// asks for it, since most hubs are never asked, and to make it at every start is a
// sixth of what a start costs.
type description struct {
	services []*restful.WebService
	v2       *openapicommon.Config
	v3       *openapicommon.OpenAPIV3Config
	making   sync.Mutex // for a making writes to its configuration
}

// share publishes the description. It must be called between PrepareRun and Run,
// which begins to publish custom resources.
func (d *description) share(front, custom *genericapiserver.GenericAPIServer) error {
	d.services = front.Handler.GoRestfulContainer.RegisteredWebServices()
	for _, service := range custom.Handler.GoRestfulContainer.RegisteredWebServices() {
		if strings.HasPrefix(service.RootPath(), "/apis/") {
			d.services = append(d.services, service)
		}
	}
	mux := front.Handler.NonGoRestfulMux
	groups := handler3.NewOpenAPIService()
	if err := groups.RegisterOpenAPIV3VersionedService("/openapi/v3", mux); err != nil {
		return fmt.Errorf("serve OpenAPI v3: %w", err)
	}
	for _, service := range d.services {
		group := strings.TrimPrefix(service.RootPath(), "/")
		groups.UpdateGroupVersionLazy(group, cached.Once(cached.Func(func() (*spec3.OpenAPI, string, error) {
			document, err := d.makeGroup(service)
			return document, group, err
		})))
	}
	// Custom resources are added to the document behind this pointer, whenever they
	// change; what that comes to is worked out in a request, so after it was made.
	static := &spec.Swagger{}
	document := handler.NewOpenAPIService(static)
	document.RegisterOpenAPIVersionedService("/openapi/v2", madeFirst{mux, sync.OnceValue(func() error { return d.makeWhole(static) })})
	custom.StaticOpenAPISpec, custom.OpenAPIVersionedService, custom.OpenAPIV3VersionedService = static, document, groups
	return nil
}

func (d *description) makeGroup(service *restful.WebService) (*spec3.OpenAPI, error) {
	d.making.Lock()
	defer d.making.Unlock()
	document, err := builder3.BuildOpenAPISpecFromRoutes(restfuladapter.AdaptWebServices([]*restful.WebService{service}), d.v3)
	if err != nil {
		return nil, fmt.Errorf("describe %s in OpenAPI v3: %w", service.RootPath(), err)
	}
	return document, nil
}

func (d *description) makeWhole(static *spec.Swagger) error {
	d.making.Lock()
	defer d.making.Unlock()
	document, err := builder.BuildOpenAPISpecFromRoutes(restfuladapter.AdaptWebServices(d.services), d.v2)
	if err != nil {
		return fmt.Errorf("describe the built-in kinds in OpenAPI v2: %w", err)
	}
	document.Definitions = handler.PruneDefaults(document.Definitions)
	*static = *document
	return nil
}

// madeFirst registers handlers that answer once make has been called.
type madeFirst struct {
	mux  openapicommon.PathHandler
	make func() error
}

func (m madeFirst) Handle(path string, next http.Handler) {
	m.mux.Handle(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := m.make(); err != nil {
			klog.ErrorS(err, "answer a request for OpenAPI", "path", path)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r)
	}))
}
