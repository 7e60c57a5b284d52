package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/signin"
	"atoll.dev/atoll/internal/version"
)

// loginOptions are the flags of login.
type loginOptions struct {
	trust             signin.Trust
	device, noBrowser bool
	name, redirect    string
	issuer, clientID  string
	issuerCA          string
	scopes            []string
	sessions          signin.Sessions
	kubeconfig        string
}

func newLogin(c *console) *cobra.Command {
	o := loginOptions{}
	cmd := &cobra.Command{
		Use:   "login URL",
		Short: "Sign in to a hub with the provider that it trusts, by OpenID Connect",
		Long: `Ask the hub at URL with whom people sign in, sign in there, in a browser of this
machine or with --device on any other, and write a context for the hub into the
kubeconfig: that of --kubeconfig, $ATOLL_KUBECONFIG or $KUBECONFIG, else
~/.atoll/config. Other contexts stay. kubectl signs in by the same context.

What renews the session lies in ~/.atoll/sessions, readable by you alone;
` + "`atoll logout`" + ` ends it.

A hub whose certificate is of an authority that this machine does not know is
believed by --ca, by --ca-fingerprint, or once you have compared the fingerprint
that is shown with that of pki/ca.crt in the hub's --data-dir.

Where the API does not tell with whom to sign in, such as that of an existing
Kubernetes cluster, give --issuer and --client-id.`,
		Example: `  atoll login https://hub.example.com:7443
  atoll login https://hub.example.com:7443 --device
  atoll login https://kubernetes.example.com --issuer https://sso.example.com --client-id atoll`,
		Args: takes(1, "the URL of a hub"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.login(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.device, "device", false, "sign in with a code, in a browser of any machine")
	f.BoolVar(&o.noBrowser, "no-browser", false, "open no browser, only print where to sign in")
	f.StringVar(&o.trust.CAFile, "ca", "", "PEM file of the authority that signed the hub's certificate")
	f.StringVar(&o.trust.Fingerprint, "ca-fingerprint", "", "SHA-256 fingerprint of that authority, to believe it without being asked")
	f.StringVar(&o.name, "name", "", "name of the context (default: the host of URL)")
	f.StringVar(&o.redirect, "redirect", signin.DefaultRedirect, "URL of this machine that the provider sends the browser back to; port 0 takes a free one")
	f.StringVar(&o.issuer, "issuer", "", "the provider, in place of what the hub tells")
	f.StringVar(&o.clientID, "client-id", "", "client of that provider")
	f.StringVar(&o.issuerCA, "issuer-ca", "", "PEM file of the authority of that provider's certificate")
	f.StringSliceVar(&o.scopes, "scopes", nil, "scopes to ask for, in place of those that the hub tells")
	return cmd
}

func (c *console) login(ctx context.Context, address string, o loginOptions) (err error) {
	if (o.issuer == "") != (o.clientID == "") {
		return wrong("--issuer and --client-id go together")
	}
	if o.sessions, err = signin.DefaultSessions(); err != nil {
		return err
	}
	if o.kubeconfig, err = c.loginFile(); err != nil {
		return err
	}
	hub, err := c.findHub(ctx, address, o)
	if err != nil {
		return err
	}
	login := &signin.Login{Hub: hub, Redirect: o.redirect, Say: c.say, Now: c.now}
	if !o.noBrowser {
		login.Open = signin.OpenBrowser
	}
	session, err := login.InBrowser, error(nil)
	if o.device {
		session = login.OnDevice
	}
	s, err := session(ctx)
	if err != nil {
		return err
	}
	return c.keepLogin(ctx, hub, s, o)
}

// findHub is the hub as it tells of itself, or as the flags say.
func (c *console) findHub(ctx context.Context, address string, o loginOptions) (*signin.Hub, error) {
	if o.issuer == "" {
		o.trust.Confirm = func(fingerprint string) error { return c.confirmAuthority(ctx, address, fingerprint) }
		hub, err := signin.Discover(ctx, address, o.trust)
		if err == nil && len(o.scopes) > 0 {
			hub.Scopes = o.scopes
		}
		return hub, err
	}
	if o.trust.Fingerprint != "" {
		return nil, wrong("with --issuer the hub is not asked, so --ca-fingerprint cannot find its authority; give --ca")
	}
	hub := &signin.Hub{Document: signin.Document{Issuer: o.issuer, ClientID: o.clientID, Scopes: o.scopes, Server: address}, URL: strings.TrimSuffix(address, "/")}
	for file, take := range map[string]func([]byte){
		o.trust.CAFile: func(data []byte) { hub.CAData = data },
		o.issuerCA:     func(data []byte) { hub.IssuerCA = string(data) },
	} {
		if file == "" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, wrong("read an authority's certificate: %v", err)
		}
		take(data)
	}
	if err := hub.Check(); err != nil {
		return nil, wrong("sign in: %v", err)
	}
	return hub, nil
}

// confirmAuthority asks a person to compare; a script cannot.
func (c *console) confirmAuthority(ctx context.Context, address, fingerprint string) error {
	c.say("The certificate of %s is of an authority that this machine does not know.\nIts SHA-256 fingerprint is\n  %s\nOn the hub's machine compare: openssl x509 -in DATA-DIR/pki/ca.crt -noout -fingerprint -sha256", address, fingerprint)
	if !c.interactive() {
		return wrong("nobody is there to compare the fingerprint; give --ca FILE or --ca-fingerprint")
	}
	fmt.Fprint(c.Err, "Type yes if it is the same: ")
	line, err := c.readLine(ctx)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return wrong("the hub is not trusted; nothing was changed")
	}
	return nil
}

// keepLogin writes what came of a sign-in, once the hub has taken it.
func (c *console) keepLogin(ctx context.Context, hub *signin.Hub, s *signin.Session, o loginOptions) error {
	who, err := c.introduce(ctx, hub, s)
	if err != nil {
		_ = s.Revoke(ctx) // nobody keeps it
		return err
	}
	e := signin.Entry{Name: o.name, Server: hub.URL, CAData: hub.CAData, SessionID: signin.NewID()}
	if e.Name == "" {
		u, err := url.Parse(hub.URL)
		if err != nil {
			return fmt.Errorf("name the context: %w", err)
		}
		e.Name = u.Host
	}
	if e.Program, err = thisProgram(); err != nil {
		return err
	}
	before := ""
	if there, err := clientcmd.LoadFromFile(o.kubeconfig); err == nil {
		before = signin.SessionOf(there, e.Name)
	}
	if err := o.sessions.Save(e.SessionID, s); err != nil {
		return err
	}
	if err := signin.Put(ctx, o.kubeconfig, e); err != nil {
		return errors.Join(err, o.sessions.End(ctx, e.SessionID))
	}
	if before != "" {
		// The provider's word on the session before is of no interest any more.
		_ = o.sessions.End(ctx, before)
	}
	c.print("signed in to %s as %s", hub.URL, who.Username)
	c.say("context %s of %s", e.Name, o.kubeconfig)
	if s.RefreshToken == "" {
		c.say("the provider gave nothing to renew the session with: it ends at %s", when(s.GoodUntil))
	}
	return nil
}

// introduce asks the hub who the token is of, before anything is written.
func (c *console) introduce(ctx context.Context, hub *signin.Hub, s *signin.Session) (*userInfo, error) {
	config := &rest.Config{Host: hub.URL, BearerToken: s.IDToken, TLSClientConfig: rest.TLSClientConfig{CAData: hub.CAData}, UserAgent: "atoll/" + version.Version}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	who, err := whoIs(ctx, objects)
	if apierrors.IsUnauthorized(err) {
		return nil, wrong("you are signed in at %s, but the hub at %s does not take its token; who runs the hub sees why in its log (--verbose); nothing was changed", s.Issuer, hub.URL)
	}
	return who, err
}

// loginFile is the kubeconfig that the next command reads.
func (c *console) loginFile() (string, error) {
	if path, _ := c.explicitKubeconfig(); path != "" {
		return path, nil
	}
	if first := filepath.SplitList(os.Getenv(clientcmd.RecommendedConfigPathEnvVar)); len(first) > 0 && first[0] != "" {
		return first[0], nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", wrong("there is no home directory to keep the kubeconfig in: give --kubeconfig")
	}
	return filepath.Join(home, ".atoll", "config"), nil
}

// thisProgram is how others run it: by name where that finds it.
func thisProgram() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program, which kubectl is to ask for tokens: %w", err)
	}
	byName, err := exec.LookPath("atoll")
	if err != nil {
		return path, nil
	}
	self, selfErr := os.Stat(path)
	named, namedErr := os.Stat(byName)
	if errors.Join(selfErr, namedErr) == nil && os.SameFile(self, named) {
		return "atoll", nil
	}
	return path, nil
}

// newCredential is what kubeconfigs run.
func newCredential(c *console) *cobra.Command {
	session := ""
	cmd := &cobra.Command{
		Use:     signin.Verb + " " + signin.SessionFlag + " ID",
		Short:   "Print a session's token for kubectl and its like, which kubeconfigs ask for",
		Example: `  atoll credential --session 0123456789abcdef0123456789abcdef`,
		Hidden:  true,
		Args:    takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sessions, err := signin.DefaultSessions()
			if err != nil {
				return err
			}
			data, err := sessions.Credential(cmd.Context(), session, c.now)
			if err != nil {
				return err
			}
			_, err = c.raw.Out.Write(data)
			return err
		},
	}
	cmd.Flags().StringVar(&session, strings.TrimPrefix(signin.SessionFlag, "--"), "", "ID of the session")
	return cmd
}
