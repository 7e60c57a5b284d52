package source

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// Remote is where a Git repository is.
type Remote struct {
	Scheme string // "https" or "ssh"
	User   string // of ssh
	Host   string // a name or an address, in lower case
	Port   string
	// Path begins with "/", or, for ssh only, in the user's home.
	Path string
}

const maxURL = 2048

var hostForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$|^[0-9a-f:]*:[0-9a-f:.]*$`)

// homeForm is ssh's short form: USER@HOST:PATH.
var homeForm = regexp.MustCompile(`^([A-Za-z0-9_][-A-Za-z0-9_.]*)@([^/:@]+|\[[^/\]@]+\]):(.+)$`)

// ParseRemote reads the URL of a repository.
func ParseRemote(s string) (Remote, error) {
	if err := sayable(s); err != nil {
		return Remote{}, err
	}
	if m := homeForm.FindStringSubmatch(s); m != nil && !strings.Contains(s, "://") {
		host := strings.TrimSuffix(strings.TrimPrefix(m[2], "["), "]")
		return check(Remote{Scheme: "ssh", User: m[1], Host: host, Port: "22", Path: m[3]})
	}
	u, err := url.Parse(s)
	if err != nil {
		return Remote{}, errors.New("it is no URL; write https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH")
	}
	r := Remote{Scheme: strings.ToLower(u.Scheme), Host: u.Hostname(), Port: u.Port(), Path: u.Path}
	if u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || strings.Contains(s, "#") {
		return Remote{}, errors.New("a repository's URL has neither ? nor #; say which commit with ref")
	}
	if _, secret := u.User.Password(); secret || r.Scheme == "https" && u.User != nil {
		return Remote{}, errors.New("credentials do not belong into the URL; put them into a Secret and name it in secretRef")
	}
	switch r.Scheme {
	case "https":
		r.Port = cmp.Or(r.Port, "443")
	case "ssh":
		r.User, r.Port = cmp.Or(u.User.Username(), "git"), cmp.Or(r.Port, "22")
	case "http", "git":
		return Remote{}, fmt.Errorf("%s:// shows everybody on the way what is fetched and lets them change it; use https:// or ssh://", r.Scheme)
	case "file", "":
		return Remote{}, errors.New("the hub reads no files of its own machine; write https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH")
	default:
		return Remote{}, fmt.Errorf("%q is no way to a repository; use https:// or ssh://", u.Scheme)
	}
	return check(r)
}

// sayable refuses what is no text of a URL.
func sayable(s string) error {
	if len(s) > maxURL {
		return fmt.Errorf("the URL has more than %d characters", maxURL)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar }) {
		return errors.New("the URL holds a space or a control character")
	}
	return nil
}

func check(r Remote) (Remote, error) {
	r.Host = strings.ToLower(r.Host)
	switch {
	case !hostForm.MatchString(r.Host):
		return Remote{}, fmt.Errorf("%q is no host name", r.Host)
	case strings.Trim(r.Path, "/") == "":
		return Remote{}, errors.New("the URL has no path; which repository of that host?")
	case strings.ContainsAny(r.Path, `'"\`+"`$;&|<>!*?(){}") || strings.HasPrefix(r.Path, "-"):
		return Remote{}, errors.New("the URL's path holds a character that a shell would take for its own")
	case strings.HasPrefix(r.User, "-") || strings.ContainsAny(r.User, `'"\`+"` "):
		return Remote{}, fmt.Errorf("%q is no user", r.User)
	}
	for _, part := range strings.Split(r.Path, "/") {
		if part == ".." || part == "." {
			return Remote{}, errors.New(`the URL's path holds "." or ".."`)
		}
	}
	if strings.ContainsFunc(r.Path, unicode.IsControl) || strings.ContainsFunc(r.Path, unicode.IsSpace) {
		return Remote{}, errors.New("the URL's path holds a space or a control character")
	}
	if r.Scheme == "https" {
		r.Path = "/" + strings.Trim(path.Clean(r.Path), "/")
	}
	return r, nil
}

// String is the URL, the same for all ways to write it.
func (r Remote) String() string {
	u := url.URL{Scheme: r.Scheme, Host: r.Host, Path: r.Path}
	if strings.Contains(r.Host, ":") {
		u.Host = "[" + r.Host + "]"
	}
	if r.Scheme == "ssh" {
		if !strings.HasPrefix(r.Path, "/") {
			return r.User + "@" + u.Host + ":" + r.Path
		}
		u.User = url.User(r.User)
	}
	if r.Port != map[string]string{"https": "443", "ssh": "22"}[r.Scheme] {
		u.Host += ":" + r.Port
	}
	return u.String()
}
