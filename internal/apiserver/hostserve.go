package apiserver

import (
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericfilters "k8s.io/apiserver/pkg/server/filters"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

// reviewMemory is how long an answer about rights is believed. Calls by way of
// the host were judged there just before, so this only bounds how late a
// withdrawn right is noticed in those that come directly.
const reviewMemory = time.Second

// newServer answers the host's aggregator, which vouches for its callers with
// the front proxy's certificate, and calls its webhook, which come without a
// name. Callers that come directly are known by what the host knows them by, and
// those that come by way of another hub by that hub's word.
func (h *Host) newServer() (*genericapiserver.GenericAPIServer, error) {
	if err := setFeatureGates(); err != nil {
		return nil, err
	}
	config := genericapiserver.NewConfig(legacyscheme.Codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.LongRunningFunc = genericfilters.BasicLongRunningRequestCheck(sets.NewString("watch", "proxy"), sets.NewString("proxy"))
	config.EnableProfiling = false
	config.BuildHandlerChainFunc = func(api http.Handler, config *genericapiserver.Config) http.Handler {
		return beforeAuthentication(h.options.Public, genericapiserver.DefaultBuildHandlerChain(api, config))
	}
	config.BuildHandlerChainFunc = witnessing(h.options.Witness, config.BuildHandlerChainFunc)
	config.ShutdownDelayDuration = 0
	serving := genericoptions.NewSecureServingOptions().WithLoopback()
	serving.Listener = h.listener
	serving.ServerCert.CertKey = genericoptions.CertKey{CertFile: h.dir.pki("apiserver.crt"), KeyFile: h.dir.pki("apiserver.key")}
	if err := serving.ApplyTo(&config.SecureServing, &config.LoopbackClientConfig); err != nil {
		return nil, fmt.Errorf("prepare to serve the cluster's calls: %w", err)
	}
	config.ExternalAddress = clientAddress(h.listener)

	authentication := genericoptions.NewDelegatingAuthenticationOptions()
	authentication.RemoteKubeConfigFile = h.cluster.Kubeconfig
	if err := authentication.ApplyTo(&config.Authentication, config.SecureServing, nil); err != nil {
		return nil, fmt.Errorf("prepare to serve the cluster's calls: %w", err)
	}
	var err error
	if config.Authentication.Authenticator, err = withPeers(config.Authentication.Authenticator, h.options.keys()); err != nil {
		return nil, err
	}
	authorization := genericoptions.NewDelegatingAuthorizationOptions().WithAlwaysAllowPaths(h.admission, h.admission+guardPath)
	authorization.RemoteKubeConfigFile = h.cluster.Kubeconfig
	authorization.AllowCacheTTL, authorization.DenyCacheTTL = reviewMemory, reviewMemory
	if err := authorization.ApplyTo(&config.Authorization); err != nil {
		return nil, fmt.Errorf("prepare to serve the cluster's calls: %w", err)
	}
	server, err := config.Complete(nil).New("atoll-hub", genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, fmt.Errorf("prepare to serve the cluster's calls: %w", err)
	}
	server.ShutdownTimeout = stopGrace
	for i := range h.options.APIs {
		if err := h.options.APIs[i].mount(server); err != nil {
			return nil, err
		}
	}
	server.Handler.NonGoRestfulMux.Handle(h.admission, reviews(reviewer{h.options.Validators, h.options.Witness}.judge))
	if h.options.Guard != nil {
		server.Handler.NonGoRestfulMux.Handle(h.admission+guardPath, reviews(h.options.Guard.complete))
	}
	return server, nil
}
