package notify

import (
	"net/url"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
)

// API is the URL of a Git host's API, without "/" at the end.
func API(c *v1alpha1.CommitStatus) string {
	switch {
	case c.URL != "":
		return strings.TrimRight(c.URL, "/")
	case c.Provider == v1alpha1.GitLab:
		return "https://gitlab.com/api/v4"
	}
	return "https://api.github.com"
}

// aliases are names under which hosts serve ssh, or their API, beside their own.
var aliases = map[string]string{"api.github.com": "github.com", "ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}

// Repository is the path by which the host's API knows a repository, such as
// acme/shop; not ok for one of another host.
func Repository(c *v1alpha1.CommitStatus, repository string) (path string, ok bool) {
	api, err := url.Parse(API(c))
	if err != nil {
		return "", false
	}
	remote, err := source.ParseRemote(repository)
	if err != nil || hostOf(remote.Host) != hostOf(strings.ToLower(api.Hostname())) {
		return "", false
	}
	path = strings.Trim(remote.Path, "/")
	if below, _, nested := strings.Cut(strings.Trim(api.Path, "/"), "/api/"); nested && remote.Scheme == "https" {
		if path, ok = strings.CutPrefix(path, below+"/"); !ok {
			return "", false
		}
	}
	path = strings.TrimSuffix(path, ".git")
	parts := strings.Split(path, "/")
	for _, part := range parts {
		if part == "" {
			return "", false
		}
	}
	if c.Provider == v1alpha1.GitLab {
		return path, len(parts) >= 2
	}
	return path, len(parts) == 2
}

func hostOf(name string) string {
	if own, ok := aliases[name]; ok {
		return own
	}
	return name
}
