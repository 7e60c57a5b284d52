package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Options says where the control plane keeps its state and what it serves
// beside the generic Kubernetes API.
type Options struct {
	// DataDir holds the store, the keys and the admin kubeconfig. Only one
	// process at a time may use it.
	DataDir string
	// Keys is the directory of the keys that all hubs of one store share; it may
	// be read-only once they are made. Default: pki in DataDir.
	Keys string
	// Fingerprints are of further keys that all hubs of one store must share.
	Fingerprints Fingerprints
	// Listen is the address of the API, host:port; port 0 takes a free one.
	Listen string
	// PublicAddresses are further hosts, or host:port, under which clients reach
	// the API; the serving certificate names them.
	PublicAddresses []string
	// PeerAddress is the host:port at which other hubs of the store reach the
	// API; default where it listens.
	PeerAddress string
	// Etcd names an external store; without servers an embedded one is run.
	Etcd ExternalEtcd
	// CRDs are installed, and updated, before Start returns.
	CRDs []*apiextensionsv1.CustomResourceDefinition
	// Validators judge writes in process, in order, after all mutation.
	Validators []Validator
	// Witness is told what the validators let through and what not; nil for nobody.
	Witness Witness
	// Guard sets a finalizer before anything is judged; nil sets none.
	Guard *Guard
	// APIs are group versions served by handlers instead of by the store.
	APIs []API
	// Handlers serve further paths. A path that ends in a slash takes everything
	// below it. They run behind the same authentication and authorization, and
	// find their caller with k8s.io/apiserver's request.UserFrom.
	Handlers map[string]http.Handler
	// Public handlers answer everybody at exactly their paths, before anybody is
	// authenticated.
	Public map[string]http.Handler
	// SignIn has people's tokens of others count; a host cluster has its own way.
	SignIn SignIn
	// DeferControllers leaves the built-in controllers to the caller, who elects
	// a leader among several hubs and calls RunControllers there.
	DeferControllers bool
	// Log takes what Kubernetes and etcd say about themselves; nil discards it.
	// It is one for the process: the last Start decides.
	Log io.Writer
}

// ExternalEtcd is an etcd that someone else runs.
type ExternalEtcd struct {
	Servers                   []string
	CAFile, CertFile, KeyFile string
	// Prefix is the path below which everything is kept, such as /atoll.
	Prefix string
}

func (o *Options) external() bool { return len(o.Etcd.Servers) > 0 }

func (o *Options) keys() keysDir {
	if o.Keys != "" {
		return keysDir(o.Keys)
	}
	return keysDir(dataDir(o.DataDir).path("pki"))
}

func (o *Options) validate() error {
	if o.DataDir == "" {
		return errors.New("the hub needs a data directory")
	}
	if err := o.Etcd.validate(); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return fmt.Errorf("listen address %q is not host:port: %w", o.Listen, err)
	}
	for _, api := range o.APIs {
		if err := api.validate(); err != nil {
			return err
		}
	}
	for path, handler := range o.Handlers {
		if !strings.HasPrefix(path, "/") || handler == nil {
			return fmt.Errorf("path %q does not begin with / or has no handler", path)
		}
	}
	return nil
}

func (e ExternalEtcd) validate() error {
	if e.Prefix != "" && (!strings.HasPrefix(e.Prefix, "/") || path.Clean(e.Prefix) != e.Prefix || e.Prefix == "/") {
		return fmt.Errorf("etcd prefix %q is not a path such as /atoll", e.Prefix)
	}
	for _, server := range e.Servers {
		at, err := url.Parse(server)
		if err != nil || at.Host+at.Path == "" || !slices.Contains([]string{"https", "http", "unix"}, at.Scheme) {
			return fmt.Errorf("etcd server %q is not of the form https://HOST:PORT", server)
		}
		if strings.HasPrefix(e.Servers[0], "https://") != (at.Scheme == "https") {
			return fmt.Errorf("etcd servers %s mix http and https", strings.Join(e.Servers, ", "))
		}
	}
	return nil
}

// listen opens the API's port, so that a port in use is the first thing said.
func (o *Options) listen(ctx context.Context) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the API on %s: %w", o.Listen, err)
	}
	return listener, nil
}

// hosts lists every name and address that the serving certificate must carry.
func (o *Options) hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	for _, address := range append([]string{o.Listen}, o.PublicAddresses...) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		// An unspecified address is where to listen, not a name to be reached by.
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// clientAddress is where clients on this machine reach a listener.
func clientAddress(listener net.Listener) string {
	address := listener.Addr().(*net.TCPAddr)
	if address.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", fmt.Sprint(address.Port))
	}
	return address.String()
}
