package source

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Address is where charts or artifacts are.
type Address struct {
	Scheme string // "https" or "oci"
	Host   string // with its port, unless that is 443
	Path   string // without "/" at its ends
}

// repositoryForm is what registries take for a repository's name.
var repositoryForm = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// chartForm is what Helm takes for a chart's name.
var chartForm = regexp.MustCompile(`^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$`)

// ParseIndex reads where a Helm repository is, or charts in a registry.
func ParseIndex(s string) (Address, error) {
	a, err := parseAddress(s)
	if err == nil && a.Scheme == "oci" && a.Path != "" && !repositoryForm.MatchString(a.Path) {
		return a, fmt.Errorf("%q is no path in a registry", a.Path)
	}
	return a, err
}

// ParseArtifact reads where a repository of a registry is.
func ParseArtifact(s string) (Address, error) {
	a, err := parseAddress(s)
	switch {
	case err != nil:
		return a, err
	case a.Scheme != "oci":
		return a, errors.New("it does not begin with oci://")
	case !repositoryForm.MatchString(a.Path) || len(a.Path) > 255:
		return a, fmt.Errorf("%q is no repository's name; write oci://HOST/REPOSITORY, and the tag or digest into ref", a.Path)
	}
	return a, nil
}

func parseAddress(s string) (Address, error) {
	if err := sayable(s); err != nil {
		return Address{}, err
	}
	u, err := url.Parse(s)
	if err != nil {
		return Address{}, errors.New("it is no URL; write https://HOST/PATH or oci://HOST/PATH")
	}
	a := Address{Scheme: strings.ToLower(u.Scheme), Host: strings.ToLower(u.Hostname()), Path: strings.Trim(u.Path, "/")}
	switch {
	case a.Scheme == "http":
		return a, errors.New("http:// shows everybody on the way what is fetched and lets them change it; use https:// or oci://")
	case a.Scheme != "https" && a.Scheme != "oci":
		return a, errors.New("it begins neither with https:// nor with oci://")
	case u.User != nil:
		return a, errors.New("credentials do not belong into the URL; put them into a Secret and name it in secretRef")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		return a, errors.New("the URL has ? or #")
	case !hostForm.MatchString(a.Host):
		return a, fmt.Errorf("%q is no host name", a.Host)
	case a.Path != "" && (path.Clean(a.Path) != a.Path || strings.HasPrefix(a.Path, "..")):
		return a, errors.New(`the URL's path holds "//", "." or ".."`)
	}
	if strings.Contains(a.Host, ":") {
		a.Host = "[" + a.Host + "]"
	}
	if port := u.Port(); port != "" && port != "443" {
		a.Host += ":" + port
	}
	return a, nil
}

// Below is the address of a part.
func (a Address) Below(name string) Address {
	a.Path = strings.Trim(a.Path+"/"+name, "/")
	return a
}

func (a Address) String() string {
	u := url.URL{Scheme: a.Scheme, Host: a.Host}
	if a.Path != "" {
		u.Path = "/" + a.Path
	}
	return u.String()
}

// CheckChart says what is wrong with the name of a chart in a repository.
func CheckChart(in Address, name string) error {
	if len(name) > 250 || !chartForm.MatchString(name) || strings.Contains(name, "..") {
		return fmt.Errorf("%q is no name of a chart", name)
	}
	if in.Scheme == "oci" && !repositoryForm.MatchString(in.Below(name).Path) {
		return fmt.Errorf("%q is no name of a chart in a registry: those have lower-case letters, digits, and one of . _ - between", name)
	}
	return nil
}
