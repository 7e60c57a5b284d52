package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	mutatingadmissionpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingadmissionpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	mutatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	validatingwebhook "k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/features"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/pkg/controlplane/apiserver/options"
	"k8s.io/kubernetes/pkg/kubeapiserver/authorizer/modes"
	certapproval "k8s.io/kubernetes/plugin/pkg/admission/certificates/approval"
	certsigning "k8s.io/kubernetes/plugin/pkg/admission/certificates/signing"
	certsubjectrestriction "k8s.io/kubernetes/plugin/pkg/admission/certificates/subjectrestriction"
)

// serviceAccountIssuer is in every service account token and checked in it; it
// names the hub as such, so that tokens outlive a change of address.
const serviceAccountIssuer = "https://hub.atoll.dev"

// stopGrace is how long running requests may take when the server stops.
// Watches are ended, not waited for: their clients reconnect anyway.
const stopGrace = 2 * time.Second

// Hubs do not route requests among each other by version, so the leases that
// announce one to the others would be idle writes to the store every 10 s.
var setFeatureGates = sync.OnceValue(func() error {
	return utilfeature.DefaultMutableFeatureGate.SetFromMap(map[string]bool{
		string(features.APIServerIdentity):                   false,
		string(features.UnknownVersionInteroperabilityProxy): false,
	})
})

// admissionPlugins are those of Kubernetes that make sense without pods, nodes
// and volumes.
var admissionPlugins = sets.New(
	lifecycle.PluginName,
	certapproval.PluginName,
	certsigning.PluginName,
	certsubjectrestriction.PluginName,
	mutatingadmissionpolicy.PluginName,
	mutatingwebhook.PluginName,
	validatingadmissionpolicy.PluginName,
	validatingwebhook.PluginName,
	resourcequota.PluginName,
)

// store says which etcd the API server talks to.
type store struct {
	servers                   []string
	caFile, certFile, keyFile string
	prefix                    string
}

// defaultPrefix is Kubernetes' own.
const defaultPrefix = "/registry"

// controlPlaneOptions turns ours into Kubernetes' own, checked and complete.
func controlPlaneOptions(ctx context.Context, o *Options, at store, listener net.Listener) (options.CompletedOptions, error) {
	if err := setFeatureGates(); err != nil {
		return options.CompletedOptions{}, fmt.Errorf("set Kubernetes' feature gates: %w", err)
	}
	dir := dataDir(o.DataDir)
	s := options.NewOptions()
	setServing(s, dir, listener)
	setStore(s, o.keys(), at)
	setAccess(s, dir, o.keys())
	if o.external() {
		trustPeers(s.Authentication.RequestHeader, o.keys())
	}
	setAdmission(s, o)
	completed, err := s.Complete(ctx, nil, nil)
	if err != nil {
		return completed, fmt.Errorf("complete the control plane's options: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return completed, fmt.Errorf("check the control plane's options: %w", errors.Join(errs...))
	}
	return completed, nil
}

func setServing(s *options.Options, dir dataDir, listener net.Listener) {
	s.SecureServing.Listener = listener
	s.SecureServing.ServerCert.CertKey = genericoptions.CertKey{CertFile: dir.pki("apiserver.crt"), KeyFile: dir.pki("apiserver.key")}
	// Given, not guessed: guessing needs a default route, which a laptop may lack.
	s.GenericServerRunOptions.AdvertiseAddress = net.IPv4(127, 0, 0, 1)
	if ip := listener.Addr().(*net.TCPAddr).IP; !ip.IsUnspecified() {
		s.GenericServerRunOptions.AdvertiseAddress = ip
	}
	s.GenericServerRunOptions.ExternalHost = clientAddress(listener)
	s.GenericServerRunOptions.ShutdownWatchTerminationGracePeriod = stopGrace
	s.Features.EnableProfiling = false
}

func setStore(s *options.Options, keys keysDir, at store) {
	s.Etcd.StorageConfig.Transport.ServerList = at.servers
	s.Etcd.StorageConfig.Transport.TrustedCAFile = at.caFile
	s.Etcd.StorageConfig.Transport.CertFile = at.certFile
	s.Etcd.StorageConfig.Transport.KeyFile = at.keyFile
	s.Etcd.StorageConfig.Prefix = at.prefix
	s.Etcd.EncryptionProviderConfigFilepath = keys.secretsKeyFile()
}

func setAccess(s *options.Options, dir dataDir, keys keysDir) {
	s.Authorization.Modes = []string{modes.ModeRBAC}
	s.Authentication.ClientCert.ClientCA = keys.authorityFile()
	s.Authentication.AuthenticationConfigFile = dir.authenticationFile()
	s.Authentication.TokenSuccessCacheTTL = tokenMemory
	s.Authentication.ServiceAccounts.Issuers = []string{serviceAccountIssuer}
	s.Authentication.ServiceAccounts.KeyFiles = []string{keys.serviceAccountsFile()}
	s.Authentication.ServiceAccounts.OptionalTokenGetter = tokenOwners
	s.ServiceAccountSigningKeyFile = keys.serviceAccountsFile()
}

func setAdmission(s *options.Options, o *Options) {
	generic := s.Admission.GenericAdmission
	generic.DefaultOffPlugins = sets.New(generic.RecommendedPluginOrder...).Difference(admissionPlugins)
	if o.Guard != nil {
		registerGuard(generic.Plugins, o.Guard)
		generic.RecommendedPluginOrder = append(generic.RecommendedPluginOrder, guardPlugin)
	}
	if len(o.Validators) > 0 || o.Witness != nil {
		registerValidators(generic.Plugins, o.Validators, o.Witness)
		generic.RecommendedPluginOrder = append(generic.RecommendedPluginOrder, validationPlugin)
	}
}
