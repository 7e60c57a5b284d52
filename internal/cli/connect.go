package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/version"
)

// hub is a connection: objects by the Kubernetes API, the rest by the fleet API.
type hub struct {
	config  *rest.Config
	objects dynamic.Interface
	fleet   *fleet.Client
	// project is as asked for, or "".
	project string
}

// connect reads the kubeconfig; it does not call the hub yet.
func (c *console) connect() (*hub, error) {
	loader, err := c.loader()
	if err != nil {
		return nil, err
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, wrong("read the kubeconfig: %v", err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, wrong("read the kubeconfig: %v", err)
	}
	config.UserAgent = "atoll/" + version.Version
	// The commands make few calls and wait for them: nothing to throttle.
	config.QPS = -1
	config.WarningHandler = rest.NewWarningWriter(c.Err, rest.WarningWriterOptions{Deduplicate: true, Color: bool(c.ink)})
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	fleetClient, err := fleet.NewClient(config)
	if err != nil {
		return nil, err
	}
	return &hub{config: config, objects: objects, fleet: fleetClient, project: c.chosenProject(raw)}, nil
}

// loader finds the kubeconfig: flag, ATOLL_KUBECONFIG, KUBECONFIG, default.
func (c *console) loader() (clientcmd.ClientConfig, error) {
	overrides := &clientcmd.ConfigOverrides{CurrentContext: c.context}
	rules, err := c.rules()
	if err != nil {
		return nil, err
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	if c.context == "" {
		return loader, nil
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, wrong("read the kubeconfig: %v", err)
	}
	if raw.Contexts[c.context] == nil {
		var names []string
		for name := range raw.Contexts {
			names = append(names, name)
		}
		return nil, wrong("the kubeconfig has no context %q%s", c.context, didYouMean(c.context, names))
	}
	return loader, nil
}

func (c *console) rules() (*clientcmd.ClientConfigLoadingRules, error) {
	if path, origin := c.explicitKubeconfig(); path != "" {
		if _, err := os.Stat(path); err != nil {
			return nil, wrong("%s: %s cannot be read: %v", origin, path, cause(err))
		}
		return &clientcmd.ClientConfigLoadingRules{ExplicitPath: path}, nil
	}
	if env := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); env != "" {
		return &clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(env), WarnIfAllMissing: true}, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, wrong("no hub is known: give --kubeconfig or set ATOLL_KUBECONFIG")
	}
	rules := defaultKubeconfigs(home)
	if rules == nil {
		return nil, wrong("no hub is known: give --kubeconfig, set ATOLL_KUBECONFIG, or put the hub's admin kubeconfig at %s; or sign in: atoll login URL",
			filepath.Join(home, ".atoll", "admin.kubeconfig"))
	}
	return rules, nil
}

func (c *console) explicitKubeconfig() (path, origin string) {
	if c.kubeconfig != "" {
		return c.kubeconfig, "--kubeconfig"
	}
	return os.Getenv("ATOLL_KUBECONFIG"), "ATOLL_KUBECONFIG"
}

func cause(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// chosenProject is the flag, ATOLL_PROJECT or the context's namespace.
func (c *console) chosenProject(raw clientcmdapi.Config) string {
	if c.project != "" {
		return c.project
	}
	if env := os.Getenv("ATOLL_PROJECT"); env != "" {
		return env
	}
	name := raw.CurrentContext
	if c.context != "" {
		name = c.context
	}
	if ctx := raw.Contexts[name]; ctx != nil && ctx.Namespace != "default" {
		return ctx.Namespace
	}
	return ""
}
