package hub

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/internal/apiserver"
	"atoll.dev/atoll/internal/signin"
)

// SignIn says whose tokens count, and with whom `atoll login` has people sign in.
type SignIn struct {
	// File is Kubernetes' AuthenticationConfiguration; not with a Host, whose own
	// API server authenticates.
	File string
	// Issuer and ClientID default to the first issuer of the file and its first
	// audience, Scopes to what the provider has of the usual ones.
	Issuer, ClientID string
	Scopes           []string
	// Server is the URL by which people reach a Host's API; default that of its
	// kubeconfig.
	Server string
}

func (o *SignIn) add(f *pflag.FlagSet) {
	f.StringVar(&o.File, "authentication-config", "", "Kubernetes' AuthenticationConfiguration: whose tokens count, for whom; read again when it changes")
	f.StringVar(&o.Issuer, "login-issuer", "", "provider that atoll login signs in with (default: the first issuer of --authentication-config)")
	f.StringVar(&o.ClientID, "login-client-id", "", "public client of that provider (default: the first audience of that issuer)")
	f.StringSliceVar(&o.Scopes, "login-scopes", nil, "scopes that atoll login asks for (default: openid, and of profile, email, groups and offline_access those that the provider lists)")
	f.StringVar(&o.Server, "login-server", "", "URL of the API for people who sign in, where the hub stores in an existing cluster (default: that of --kubeconfig)")
}

func (o *SignIn) check(host bool) error {
	switch {
	case host && o.File != "":
		return errors.New("--authentication-config is for a hub with an API server of its own; give it to the API server of the cluster, and here --login-issuer and --login-client-id, for people to find their way")
	case host && (o.Issuer == "") != (o.ClientID == ""):
		return errors.New("--login-issuer and --login-client-id go together")
	case !host && o.Server != "":
		return errors.New("--login-server is for a hub that stores in an existing cluster; people reach this one where they sign in")
	case !host && o.File == "" && o.Issuer+o.ClientID != "":
		return errors.New("--login-issuer and --login-client-id need --authentication-config, by which the hub believes that provider")
	case o.File == "" && o.Issuer == "" && len(o.Scopes) > 0:
		return errors.New("--login-scopes needs --authentication-config")
	}
	if o.File != "" {
		if _, err := os.Stat(o.File); err != nil {
			return fmt.Errorf("--authentication-config: %w", err)
		}
	}
	if o.Issuer+o.Server != "" || len(o.Scopes) > 0 {
		d := signin.Document{Server: o.Server, Issuer: cmp.Or(o.Issuer, "https://unknown.yet"), ClientID: cmp.Or(o.ClientID, "unknown yet"), Scopes: o.Scopes}
		if err := d.Check(); err != nil {
			return fmt.Errorf("--login-issuer, --login-scopes, --login-server: %w", err)
		}
	}
	return nil
}

// doorplate tells whoever comes how to sign in.
type doorplate struct {
	options SignIn
	log     *slog.Logger

	mu      sync.Mutex
	issuers []apiserver.TokenIssuer
	ready   bool // the rest is known
	apart   bool // the API is a host's
	// where the API is, and who signed its certificate, if it is elsewhere.
	server, serverCA string
	ca               string
}

// trusted is told whose tokens count.
func (p *doorplate) trusted(issuers []apiserver.TokenIssuer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.options.Issuer != "" && p.of(issuers) == nil {
		p.log.Warn("nobody can sign in: --login-issuer is none of the issuers of the authentication configuration", "issuer", p.options.Issuer)
	}
	p.issuers = issuers
}

// open says who signed the certificate under which this is read.
func (p *doorplate) open(ca []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ca, p.ready = string(ca), true
}

// pointTo says that the API is a host's, and how this hub reaches it, which is
// how people do, unless the hub is a pod there.
func (p *doorplate) pointTo(config *rest.Config, inside bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apart = true
	switch {
	case p.options.Server != "":
		p.server = p.options.Server
	case !inside:
		p.server = config.Host
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		p.log.Warn("people who sign in are not told the authority of the cluster's certificate", "error", err)
	}
	p.serverCA = string(config.CAData)
}

func (p *doorplate) of(issuers []apiserver.TokenIssuer) *apiserver.TokenIssuer {
	i := slices.IndexFunc(issuers, func(issuer apiserver.TokenIssuer) bool {
		return p.options.Issuer == "" || issuer.URL == p.options.Issuer
	})
	if i < 0 {
		return nil
	}
	return &issuers[i]
}

// document is nil while nobody can sign in.
func (p *doorplate) document() *signin.Document {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := &signin.Document{
		Issuer: p.options.Issuer, ClientID: p.options.ClientID, Scopes: p.options.Scopes,
		Server: p.server, ServerCA: p.serverCA, CA: p.ca,
	}
	if p.options.File != "" {
		issuer := p.of(p.issuers)
		if issuer == nil {
			return nil
		}
		d.Issuer, d.IssuerCA = issuer.URL, issuer.CA
		if d.ClientID == "" && len(issuer.Audiences) > 0 {
			d.ClientID = issuer.Audiences[0]
		}
	}
	if p.apart && d.Server == "" || d.Check() != nil {
		return nil
	}
	return d
}

func (p *doorplate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	ready := p.ready
	p.mu.Unlock()
	if !ready {
		unavailable(w, "the hub is starting")
		return
	}
	signin.Serve(p.document).ServeHTTP(w, r)
}
