package signin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Verb is how a kubeconfig asks for a session's token: `atoll credential --session ID`.
const (
	Verb        = "credential"
	SessionFlag = "--session"
)

// Entry is a hub as a kubeconfig names it: cluster, user and context of one name.
type Entry struct {
	Name      string
	Server    string
	CAData    []byte
	SessionID string
	// Program is what the kubeconfig's readers run.
	Program string
}

// SessionOf is the session that a context signs in by; empty for another's.
func SessionOf(config *clientcmdapi.Config, context string) string {
	c := config.Contexts[context]
	if c == nil || config.AuthInfos[c.AuthInfo] == nil || config.AuthInfos[c.AuthInfo].Exec == nil {
		return ""
	}
	args := config.AuthInfos[c.AuthInfo].Exec.Args
	if len(args) != 3 || args[0] != Verb || args[1] != SessionFlag || !sessionID.MatchString(args[2]) {
		return ""
	}
	return args[2]
}

// Put writes the entry, makes it the current context, and leaves all else as it is.
func Put(ctx context.Context, file string, e Entry) error {
	return edit(ctx, file, func(config *clientcmdapi.Config) error {
		_, cluster := config.Clusters[e.Name]
		_, user := config.AuthInfos[e.Name]
		if (cluster || user || config.Contexts[e.Name] != nil) && SessionOf(config, e.Name) == "" {
			return fmt.Errorf("%s has a context, cluster or user %s that is not of a sign-in; choose another name by --name", file, e.Name)
		}
		c := clientcmdapi.NewContext()
		if there := config.Contexts[e.Name]; there != nil {
			c = there // with the namespace that someone chose
		}
		c.Cluster, c.AuthInfo = e.Name, e.Name
		config.Contexts[e.Name] = c
		config.Clusters[e.Name] = &clientcmdapi.Cluster{Server: e.Server, CertificateAuthorityData: e.CAData}
		config.AuthInfos[e.Name] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
			APIVersion:      "client.authentication.k8s.io/v1",
			Command:         e.Program,
			Args:            []string{Verb, SessionFlag, e.SessionID},
			InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
			InstallHint:     "sign in again with `atoll login " + e.Server + "`",
		}}
		config.CurrentContext = e.Name
		return nil
	})
}

// Drop removes what Put wrote of a context, where nothing else refers to it.
func Drop(ctx context.Context, file, name string) error {
	return edit(ctx, file, func(config *clientcmdapi.Config) error {
		gone := config.Contexts[name]
		if gone == nil {
			return nil
		}
		delete(config.Contexts, name)
		cluster, user := false, false
		for _, c := range config.Contexts {
			cluster, user = cluster || c.Cluster == gone.Cluster, user || c.AuthInfo == gone.AuthInfo
		}
		if !cluster {
			delete(config.Clusters, gone.Cluster)
		}
		if !user {
			delete(config.AuthInfos, gone.AuthInfo)
		}
		if config.CurrentContext == name {
			config.CurrentContext = ""
		}
		return nil
	})
}

// edit changes a kubeconfig whole or not at all, alone among kubectl's kind,
// whose lock it takes. It is closed to others from then on.
func edit(ctx context.Context, file string, change func(*clientcmdapi.Config) error) error {
	// A link stays one: what it leads to is replaced.
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("make the kubeconfig's folder: %w", err)
	}
	done, err := lockFile(ctx, file+".lock")
	if err != nil {
		return err
	}
	defer done()
	config, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		config, err = clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return fmt.Errorf("read the kubeconfig %s: %w; it is left as it is", file, err)
	}
	if err := change(config); err != nil {
		return err
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	return replaceFile(file, data)
}

// lockTries is how often a file that another program writes is tried: for 30 s.
const lockTries = 600

func lockFile(ctx context.Context, path string) (done func(), err error) {
	for range lockTries {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			file.Close()                           //nolint:errcheck // Nothing was written.
			return func() { os.Remove(path) }, nil //nolint:errcheck // The next one says so.
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("lock the kubeconfig: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("another program writes the kubeconfig; if none does, remove %s", path)
}

// ContextsOf are the contexts of a kubeconfig that are of sign-ins, sorted.
func ContextsOf(config *clientcmdapi.Config) []string {
	var names []string
	for name := range config.Contexts {
		if SessionOf(config, name) != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
