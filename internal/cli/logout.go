package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"atoll.dev/atoll/internal/signin"
)

func newLogout(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "End the session that atoll login began, here and with the provider",
		Long: `Remove the context that atoll login wrote, the current one or that of --context,
with its session, and revoke that with the provider where it can. A token that was
given out is good until its end, an hour at most with most providers.`,
		Example: `  atoll logout
  atoll logout --context hub.example.com:7443`,
		Args: takesNothing,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.logout(cmd.Context()) },
	}
}

func (c *console) logout(ctx context.Context) error {
	file, name, id, err := c.ownSession()
	if err != nil {
		return err
	}
	sessions, err := signin.DefaultSessions()
	if err != nil {
		return err
	}
	if err := signin.Drop(ctx, file, name); err != nil {
		return err
	}
	if err := sessions.End(ctx, id); err != nil {
		return fmt.Errorf("you are signed out here, but the provider may still renew the session: %w", err)
	}
	c.print("signed out of %s", name)
	return nil
}

// ownSession is the session of the context that is asked for, and the file that
// names it.
func (c *console) ownSession() (file, name, id string, err error) {
	loader, err := c.loader()
	if err != nil {
		return "", "", "", err
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return "", "", "", wrong("read the kubeconfig: %v", err)
	}
	if name = c.context; name == "" {
		name = raw.CurrentContext
	}
	if id = signin.SessionOf(&raw, name); id == "" {
		hint := ""
		if others := signin.ContextsOf(&raw); len(others) > 0 {
			hint = "; those of a sign-in are " + list(others, 5) + ": give --context"
		}
		return "", "", "", wrong("context %q is not of a sign-in%s", name, hint)
	}
	return raw.Contexts[name].LocationOfOrigin, name, id, nil
}

// defaultKubeconfigs are read when nothing names another: what people signed in
// with, then that of who runs the hub.
func defaultKubeconfigs(home string) *clientcmd.ClientConfigLoadingRules {
	var there []string
	for _, name := range []string{"config", "admin.kubeconfig"} {
		path := filepath.Join(home, ".atoll", name)
		if _, err := os.Stat(path); err == nil {
			there = append(there, path)
		}
	}
	switch len(there) {
	case 0:
		return nil
	case 1:
		return &clientcmd.ClientConfigLoadingRules{ExplicitPath: there[0]}
	}
	return &clientcmd.ClientConfigLoadingRules{Precedence: there}
}
