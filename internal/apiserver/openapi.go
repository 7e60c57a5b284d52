package apiserver

import (
	"fmt"
	"strings"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kube-openapi/pkg/builder3"
	openapicommon "k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
)

// shareOpenAPI makes one description of the two servers: the server of custom
// resources publishes in the documents of the one in front, which clients see.
// It must be called between PrepareRun, which makes the documents, and Run,
// which publishes. kubectl explain and validation read them.
func shareOpenAPI(front, custom *genericapiserver.GenericAPIServer, config *openapicommon.OpenAPIV3Config) error {
	merged, err := builder.MergeSpecs(front.StaticOpenAPISpec, custom.StaticOpenAPISpec)
	if err != nil {
		return fmt.Errorf("merge the OpenAPI v2 documents: %w", err)
	}
	for _, service := range custom.Handler.GoRestfulContainer.RegisteredWebServices() {
		group := strings.TrimPrefix(service.RootPath(), "/")
		routes := restfuladapter.AdaptWebServices([]*restful.WebService{service})
		document, err := builder3.BuildOpenAPISpecFromRoutes(routes, config)
		if err != nil {
			return fmt.Errorf("describe %s in OpenAPI v3: %w", group, err)
		}
		if strings.HasPrefix(group, "apis/") {
			front.OpenAPIV3VersionedService.UpdateGroupVersion(group, document)
		}
	}
	custom.StaticOpenAPISpec = merged
	custom.OpenAPIVersionedService = front.OpenAPIVersionedService
	custom.OpenAPIV3VersionedService = front.OpenAPIV3VersionedService
	return nil
}
